import { describe, expect, it } from 'vitest';
import { AccessError } from '../../src/access/access-error.ts';
import type { KubeAction } from '../../src/access/action.ts';
import { kubeRequestInfo } from '../../src/access/kube-request-info.ts';

/** `verb group/version resource/subresource namespace name`, with a dash for an empty part. */
function summary(method: string, target: string): string {
  const info = kubeRequestInfo(method, target);
  if (info.kind === 'kube-path') return `path ${info.verb} ${info.path}`;
  const { verb, group, version, resource, subresource, namespace, name }: KubeAction = info;
  const resourcePath = subresource === '' ? resource : `${resource}/${subresource}`;
  const parts = [verb, `${group}/${version}`, resourcePath, namespace, name];
  return parts.map((part) => (part === '' ? '-' : part)).join(' ');
}

// The cases of Kubernetes' own TestGetAPIRequestInfo are among these.
describe('The action of a request to the kube-apiserver', () => {
  it.each([
    ['GET', '/api/v1/namespaces', 'list /v1 namespaces - -'],
    ['GET', '/api/v1/namespaces/other', 'get /v1 namespaces other other'],
    ['GET', '/api/v1/namespaces/other/pods', 'list /v1 pods other -'],
    ['GET', '/api/v1/namespaces/other/pods/foo', 'get /v1 pods other foo'],
    ['HEAD', '/api/v1/namespaces/other/pods/foo', 'get /v1 pods other foo'],
    ['GET', '/api/v1/pods', 'list /v1 pods - -'],
    ['HEAD', '/api/v1/pods', 'list /v1 pods - -'],
    ['POST', '/api/v1/pods', 'create /v1 pods - -'],
    ['GET', '/api/v1/pods?watch=%ff', 'watch /v1 pods - -'],
    [
      'GET',
      '/api/v1/pods?fieldSelector=metadata.name!%3D%ff&fieldSelector=metadata.name%3Dfoo',
      'list /v1 pods - -',
    ],
    ['constructor', '/api/v1/pods', '- /v1 pods - -'],
    ['PUT', '/api/v1/namespaces/other/pods/foo', 'update /v1 pods other foo'],
    ['PATCH', '/api/v1/namespaces/other/pods/foo', 'patch /v1 pods other foo'],
    ['DELETE', '/api/v1/namespaces/other/pods/foo', 'delete /v1 pods other foo'],
    ['DELETE', '/api/v1/namespaces/other/pods', 'deletecollection /v1 pods other -'],
    ['POST', '/api/v1/namespaces/other/pods/foo/exec', 'create /v1 pods/exec other foo'],
    ['GET', '/api/v1/namespaces/other/pods/foo/log', 'get /v1 pods/log other foo'],
    ['PUT', '/api/v1/namespaces/other/finalize', 'update /v1 namespaces/finalize other other'],
    ['PUT', '/api/v1/namespaces/other/status', 'update /v1 namespaces/status other other'],
    ['GET', '/api/v1/proxy/namespaces/other/pods/foo', 'proxy /v1 pods other foo'],
    ['GET', '/api/v1/proxy/namespaces/other/pods/foo/sub/x', 'proxy /v1 pods other foo'],
    ['GET', '/api/v1/proxy/nodes/n1', 'proxy /v1 nodes - n1'],
    ['GET', '/api/v1/watch/pods', 'watch /v1 pods - -'],
    ['GET', '/api/v1/watch/namespaces/other/pods', 'watch /v1 pods other -'],
    ['GET', '/api/v1/watch/namespaces/other/pods/foo', 'watch /v1 pods other foo'],
    ['GET', '/apis/apps/v1/namespaces/a/deployments', 'list apps/v1 deployments a -'],
    ['GET', '/apis/apps/v1/namespaces/a/deployments/d/scale', 'get apps/v1 deployments/scale a d'],
    ['GET', '/apis/metrics.k8s.io/v1beta1/nodes', 'list metrics.k8s.io/v1beta1 nodes - -'],
    [
      'GET',
      '/api/v1/namespaces/a/services/http:s:80/proxy/x/y',
      'get /v1 services/proxy a http:s:80',
    ],
    ['OPTIONS', '/api/v1/pods', '- /v1 pods - -'],
    ['get', '/api/v1/pods', '- /v1 pods - -'],
    ['PURGE', '/api/v1/pods', '- /v1 pods - -'],
  ])('%s %s is an action on a resource', (method, target, expected) => {
    expect(summary(method, target)).toBe(expected);
  });

  it.each([
    ['GET', '/', 'path get /'],
    ['GET', '/version', 'path get /version'],
    ['GET', '/healthz/etcd', 'path get /healthz/etcd'],
    ['GET', '/api', 'path get /api'],
    ['GET', '/api/v1', 'path get /api/v1'],
    ['GET', '/api/v1/', 'path get /api/v1/'],
    ['GET', '/apis/apps', 'path get /apis/apps'],
    ['GET', '/apis/apps/v1', 'path get /apis/apps/v1'],
    ['POST', '/openapi/v3', 'path post /openapi/v3'],
    ['GET', '/apix/v1/pods/x', 'path get /apix/v1/pods/x'],
    ['GET', '/API/v1/pods', 'path get /API/v1/pods'],
    ['PROPFIND', '/logs', 'path propfind /logs'],
  ])('%s %s is an action on a path', (method, target, expected) => {
    expect(summary(method, target)).toBe(expected);
  });

  it.each([
    ['watch=true', 'watch /v1 pods - -'],
    ['watch=1', 'watch /v1 pods - -'],
    ['watch', 'watch /v1 pods - -'],
    ['watch=', 'watch /v1 pods - -'],
    ['watch=0', 'list /v1 pods - -'],
    ['watch=FALSE', 'list /v1 pods - -'],
    ['watch=no', 'watch /v1 pods - -'],
    // Only the first value counts.
    ['watch=false&watch=true', 'list /v1 pods - -'],
    ['watch=true&watch=false', 'watch /v1 pods - -'],
    ['w%61tch=1', 'watch /v1 pods - -'],
    ['Watch=1', 'list /v1 pods - -'],
    // Go drops such pairs.
    ['watch=1;x', 'list /v1 pods - -'],
    ['watch=%zz', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name%3Dfoo', 'list /v1 pods - foo'],
    ['watch=1&fieldSelector=metadata.name==foo', 'watch /v1 pods - foo'],
    ['fieldSelector=metadata.name=foo,spec.nodeName=n', 'list /v1 pods - foo'],
    ['fieldSelector=metadata.name!=foo', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=a/b', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=foo,metadata.name=bar', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=foo&fieldSelector=spec.x=y', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=foo&limit=x', 'list /v1 pods - -'],
    ['fieldSelector=metadata.name=foo&limit=500', 'list /v1 pods - foo'],
  ])('The query %s decides between list, watch and a name', (query, expected) => {
    expect(summary('GET', `/api/v1/pods?${query}`)).toBe(expected);
  });

  it.each([
    // Escapes are resolved before the path is split, as in the kube-apiserver.
    ['/api/v1/namespaces/a%2Fsecrets', 'list /v1 secrets a -'],
    ['/api%2Fv1%2Fsecrets', 'list /v1 secrets - -'],
    ['/api/v1/%73ecrets', 'list /v1 secrets - -'],
    ['/api/v1/namespaces/a/pods%2Fp%2Fexec', 'get /v1 pods/exec a p'],
    ['//api/v1/secrets', 'list /v1 secrets - -'],
    ['///api/v1/secrets///', 'list /v1 secrets - -'],
    ['/api/v1/secrets/', 'list /v1 secrets - -'],
    ['/api/v1/pods%3Fwatch=1', 'list /v1 pods?watch=1 - -'],
    ['/api/v1/pods%3fx/y', 'get /v1 pods?x - y'],
    ['/api/v1/pods#secrets', 'list /v1 pods#secrets - -'],
    // One decoding only.
    ['/api/v1/pods%252Fx', 'list /v1 pods%2Fx - -'],
    // Fullwidth letters and the like stay what they are.
    ['/api/v1/%EF%BD%93ecrets', 'list /v1 ｓecrets - -'],
    ['/api/v1/namespaces/a/services/s/proxy//x', 'get /v1 services/proxy a s'],
  ])('The path %s means what the kube-apiserver sees', (target, expected) => {
    expect(summary('GET', target)).toBe(expected);
  });

  it.each([
    '/api/v1/namespaces/a/../../v1/secrets',
    '/api/v1/namespaces/a/%2e%2e/secrets',
    '/api/v1/namespaces/a/%2E./secrets',
    '/api/v1/namespaces/a/.%2fsecrets',
    '/api/v1/namespaces/a/%252e%252e/secrets',
    '/api/v1/namespaces/a/services/s/proxy/../../../secrets',
    '/version/..%2fapi/v1/secrets',
    '/api/v1//secrets',
    '/api//secrets/x',
    '/apis//v1/secrets/x',
    '/api/v1/namespaces//secrets',
    '/api/v1/namespaces/a//x',
    '/api/v1/pods//exec',
    '/api/v1/watch/namespaces//secrets',
    '/api/v1\\secrets',
    '/api/v1/%5csecrets',
    '/api/v1/secrets%00',
    '/api/v1/secrets%0d%0aX: y',
    '/api/v1/%zz',
    '/api/v1/%',
    '/api/v1/%ff%fe',
    '/api/v1/watch',
    '/api/v1/proxy',
    'api/v1/pods',
    '*',
    'http://other/api/v1/pods',
    '',
  ])('The path %s is refused', (target) => {
    expect(() => kubeRequestInfo('GET', target)).toThrow(AccessError);
    expect(() => kubeRequestInfo('GET', target)).toThrow(
      expect.objectContaining({ code: 'malformed_path' }),
    );
  });

  it('A path of 100,000 slashes is read in time that grows with its length', () => {
    expect(summary('GET', '/'.repeat(100_000))).toMatch(/^path get/);
    expect(summary('GET', `/x${'/'.repeat(100_000)}x`)).toMatch(/^path get/);
  });

  it('A query with more parameters than every version of Go reads is refused', () => {
    const target = (count: number): string =>
      `/api/v1/secrets?fieldSelector=metadata.name%3Dfoo${'&'.repeat(count)}`;
    expect(summary('GET', target(999))).toBe('list /v1 secrets - foo');
    expect(() => kubeRequestInfo('GET', target(1_000))).toThrow(AccessError);
  });
});
