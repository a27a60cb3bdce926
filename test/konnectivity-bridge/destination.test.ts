import { describe, expect, it } from 'vitest';
import { destinationResolver } from '../../src/konnectivity-bridge/destination.ts';

const resolve = destinationResolver({});
const hashed = 'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385';

function to(cluster: string, host: string, port: number) {
  return { cluster, target: { kind: 'tcp', host, port } };
}

describe('destination names', () => {
  it.each([
    ['cluster1:443', to('cluster1', 'cluster1', 443)],
    ['1st-cluster:8443', to('1st-cluster', '1st-cluster', 8443)],
    ['cluster1.proxies:6443', to('cluster1', 'cluster1.proxies', 6443)],
    ['cluster1.svc:443', to('cluster1', 'cluster1.svc', 443)],
    [`${hashed}.open-cluster-management.proxy:443`, to(hashed, hashed, 443)],
    ['web.default.svc.cluster1:80', to('cluster1', 'web.default.svc', 80)],
  ])('The destination resolver leads %s to its cluster', (address, destination) => {
    expect(resolve('tcp', address)).toEqual(destination);
  });

  it.each([
    'Cluster1:443',
    'cluster1.:443',
    'cluster1.Proxies:443',
    'cluster1.proxies.:443',
    'cluster1.proxies.more:443',
    `cluster1.${'a'.repeat(64)}:443`,
    '10.0.0.1:443',
    '[::1]:443',
    'a.b.c.svc.cluster1:443',
    `${hashed}0.open-cluster-management.proxy:443`,
    `${hashed.toUpperCase()}.open-cluster-management.proxy:443`,
    '.proxies:443',
    `${'a'.repeat(64)}:443`,
  ])('The destination resolver has exactly "No agent available" for %s', (address) => {
    expect(() => resolve('tcp', address)).toThrow(/^No agent available$/);
  });

  it('The destination resolver sends everything to the one cluster in single-cluster mode', () => {
    const resolve = destinationResolver({ cluster: 'only' });
    expect(resolve('tcp', '10.0.0.7:10250')).toEqual(to('only', '10.0.0.7', 10_250));
    expect(resolve('tcp', '[fd00::7]:10250')).toEqual(to('only', 'fd00::7', 10_250));
    expect(resolve('tcp', 'Node-7.internal:443')).toEqual(to('only', 'Node-7.internal', 443));
  });

  it.each([
    ['x', 'dial tcp: address x: missing port in address'],
    ['[::1]', 'dial tcp: address [::1]: missing port in address'],
    ['', 'dial tcp: missing address'],
    ['::1:443', 'dial tcp: address ::1:443: too many colons in address'],
    ['x:70000', 'dial tcp: address 70000: invalid port'],
    ['x:65536', 'dial tcp: address 65536: invalid port'],
    ['x:0', 'dial tcp: address 0: invalid port'],
    ['x:', 'dial tcp: lookup tcp/: unknown port'],
    ['x:web', 'dial tcp: lookup tcp/web: unknown port'],
    [':443', 'dial tcp: address :443: missing host in address'],
    ['[x]y:443', 'dial tcp: address [x]y:443: unexpected bracket in address'],
  ])('The destination resolver reports the problem of %j in the words of Go', (address, text) => {
    expect(() => resolve('tcp', address)).toThrow(
      expect.objectContaining({ code: 'invalid_address', message: text }),
    );
  });

  it.each(['udp', 'unix', '', 'tcp6'])('dials no %j on a client’s word', (network) => {
    expect(() => resolve(network, 'cluster1:443')).toThrow(
      `dial ${network}: unknown network ${network}`,
    );
  });
});
