import { describe, expect, it } from 'vitest';
import { DestinationPolicy } from '../../src/agent/destination-policy.ts';

function policy(
  allow: string[],
  kubeApiserver: { host: string; port?: number } = { host: 'kubernetes.default.svc' },
) {
  return new DestinationPolicy({
    cluster: '1st-cluster',
    clusterAlias: 'cluster-abc',
    kubeApiserver: { host: kubeApiserver.host, port: kubeApiserver.port },
    allow,
  });
}

describe('destination policy', () => {
  it('dials the kube-apiserver for the name of the cluster, at the port that was asked for', () => {
    expect(policy([]).resolve('1st-cluster', 443)).toEqual({
      host: 'kubernetes.default.svc',
      port: 443,
    });
    expect(policy([]).resolve('cluster-abc', 8443)).toEqual({
      host: 'kubernetes.default.svc',
      port: 8443,
    });
  });

  it('keeps to the port of the kube-apiserver where one is configured', () => {
    const fixed = policy([], { host: '10.0.0.1', port: 6443 });
    expect(fixed.resolve('1st-cluster', 443)).toEqual({ host: '10.0.0.1', port: 6443 });
    expect(fixed.resolve('10.0.0.1', 22)).toBeUndefined();
  });

  it('dials nothing else by default', () => {
    expect(policy([]).resolve('db.internal', 5432)).toBeUndefined();
    expect(policy([]).resolve('127.0.0.1', 80)).toBeUndefined();
    expect(policy([]).resolve('2nd-cluster', 443)).toBeUndefined();
  });

  it.each([
    ['db.internal:5432', 'db.internal', 5432, true],
    ['db.internal:5432', 'DB.Internal.', 5432, true],
    ['db.internal:5432', 'db.internal', 5433, false],
    ['db.internal:*', 'db.internal', 1, true],
    ['*.svc:80', 'web.shop.svc', 80, true],
    ['*.svc:80', 'evilsvc', 80, false],
    ['*.svc:80', 'svc', 80, false],
    ['10.1.0.0/16:443', '10.1.2.3', 443, true],
    ['10.1.0.0/16:443', '10.2.2.3', 443, false],
    ['10.1.0.0/16:443', '10.1.2.3.example.com', 443, false],
    ['[fd00::/8]:443', 'fd12::1', 443, true],
    ['[::1]:443', '::1', 443, true],
    ['*:443', 'anything', 443, true],
  ])('with --allow %s, %s:%i is allowed: %s', (pattern, host, port, allowed) => {
    expect(policy([pattern]).resolve(host, port) !== undefined).toBe(allowed);
  });

  it.each(['db.internal', 'db.internal:http', 'a:b:80', '10.0.0.0/33:80', ':80', 'x:70000'])(
    'refuses the pattern "%s" and names it',
    (pattern) => {
      expect(() => policy([pattern])).toThrow(RangeError);
      expect(() => policy([pattern])).toThrow(pattern);
    },
  );
});
