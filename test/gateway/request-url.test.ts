import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../src/gateway/gateway-error.ts';
import { readRequestUrl } from '../../src/gateway/request-url.ts';

const domain = 'clusters.example.com';

function refusal(target: string, host?: string): GatewayError {
  try {
    readRequestUrl(target, host, domain);
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown;
    throw thrown;
  }
  throw new Error(`${target} is accepted`);
}

describe('The URL grammar', () => {
  it.each([
    ['/c1/', '/'],
    ['/c1/version', '/version'],
    ['/c1/api/v1/pods?watch=1&labelSelector=a%3Db', '/api/v1/pods?watch=1&labelSelector=a%3Db'],
    ['/c1/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode', undefined],
    ['/c1/apis/apps/v1/namespaces/n/deployments/a.b.c', undefined],
    ['/c1/api/v1/namespaces/n/services/https:s:443/proxy/a%2Fb//c', undefined],
    ['/c1/api/v1/nodes/n1/proxy/logs//x', undefined],
    ['/c1/apis/x.y/v1/namespaces/n/things/t/proxy/a%5Cb', undefined],
    ['/c1/.well-known/openid-configuration', undefined],
    ['/c1/openapi/v3?hash=..%2F..', undefined],
    // Without the slash, it is a request to the API server.
    ['/c1/api/v1/namespaces/n/services/s:80/proxy-service', undefined],
    // The query takes no part.
    ['/c1/version?/api/v1/namespaces/n/services/s:80/proxy-service/', undefined],
    ['/c1/api/v1/namespaces/n/pods/s:80/proxy-service/x', undefined],
  ])('The path form keeps the bytes of %s', (target, path = target.slice(3)) => {
    expect(readRequestUrl(target, 'gateway', domain)).toEqual({
      cluster: 'c1',
      server: { kind: 'kube-apiserver' },
      path,
      prefix: '/c1',
    });
  });

  it('The host form names the cluster without a prefix', () => {
    for (const host of ['c1.clusters.example.com', 'C1.Clusters.example.com.:443']) {
      expect(readRequestUrl('/api/v1/pods', host, domain)).toEqual({
        cluster: 'c1',
        server: { kind: 'kube-apiserver' },
        path: '/api/v1/pods',
        prefix: '',
      });
    }
    expect(refusal('/api', 'a.b.clusters.example.com').reason).toBe('NotFound');
    // Without the option, hosts have no meaning.
    expect(readRequestUrl('/c2/api', 'c1.clusters.example.com', undefined).cluster).toBe('c2');
  });

  it.each([
    ['s:8080', { scheme: 'https', name: 's', port: '8080' }],
    ['http:s:8080', { scheme: 'http', name: 's', port: '8080' }],
    ['https:s:web', { scheme: 'https', name: 's', port: 'web' }],
    ['http%3As%3A80', { scheme: 'http', name: 's', port: '80' }],
  ])('A Service is named as %s', (text, server) => {
    const prefix = `/c1/api/v1/namespaces/ns/services/${text}/proxy-service`;
    expect(readRequestUrl(`${prefix}/../a%2e//b?c`, undefined, undefined)).toEqual({
      cluster: 'c1',
      server: { kind: 'service', namespace: 'ns', ...server },
      path: '/../a%2e//b?c',
      prefix,
    });
  });

  it.each([
    's',
    'ftp:s:80',
    's:',
    's:0',
    's:65536',
    's:080',
    's:a--b',
    's.other:80',
    'http:s:80:1',
    '10.0.0.1:80',
    '%2e%2e:80',
    'S:80',
  ])('A Service named as %s is refused', (text) => {
    const target = `/c1/api/v1/namespaces/ns/services/${text}/proxy-service/`;
    expect(refusal(target)).toMatchObject({ reason: 'BadRequest', hop: 'client' });
  });

  it.each([
    'http://elsewhere/c1/version',
    '*',
    '/c1',
    '/c1?/x',
    '/c1/a\\..\\b',
    '/c1/%',
    '/c1/%2',
    '/c1/%zz',
    '/c1/a%00b',
    '/c1/a%0d%0ab',
    '/c1/a#b',
    '/c1/\u00e4',
    '/c1/api/v1/namespaces/a/../b/pods',
    '/c1/api/v1/namespaces/a/%2e%2E/b/pods',
    '/c1/api/v1/namespaces/a/.%2e/b/pods',
    '/c1/api/v1/./pods',
    '/c1/api/v1/pods/..',
    '/c1/api/v1/namespaces/n/services/s/proxy/../../../secrets',
    '/c1/api/v1/namespaces/n/services/s/proxy/a%2f..%2f..%2fb',
    '/c1/api/v1/namespaces/n/services/s/proxy/a%5c..%5cb',
    '/c1//api/v1/pods',
    '/c1/api/v1/namespaces//secret/secrets',
    '/c1/api/v1/namespaces/a%2Fsecrets',
    '/c1/api/v1/namespaces/n/pods/a%2Flog',
    '/c1/api/v1/watch/namespaces/n/pods/a//b',
    '/c1/api/v1/%6eamespaces/a/b/c%2Fd',
  ])('The URL %s is refused with 400', (target) => {
    expect(refusal(target)).toMatchObject({ reason: 'BadRequest', hop: 'client' });
  });

  it.each(['/C1/x', '/c_1/x', '//x', '/a.b/x', '/%63%31/x', `/cluster-${'0'.repeat(48)}/x`])(
    'The URL %s names no cluster',
    (target) => {
      expect(refusal(target).reason).toBe('NotFound');
    },
  );
});
