import { describe, expect, it } from 'vitest';
import { resolveEntrypoint, serverSans } from '../../../src/addon/hub/entrypoint.ts';
import { portForwardRole } from '../../../src/addon/hub/hub-objects.ts';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import {
  configurationObject,
  configurationOf,
  entrypointOf,
  hub,
  loadBalancer,
} from './hub-fixture.ts';

const balancer = { type: 'LoadBalancerService', port: 443 };
const viaHub = `${hub}/https:proxy-entrypoint:agent-server`;

describe('resolveEntrypoint', () => {
  it.each([
    [
      'a name',
      entrypointOf({ type: 'Hostname', hostname: { value: 'hub.example' }, port: 443 }),
      [],
      'wss://hub.example:443',
    ],
    [
      'a name on the default port',
      entrypointOf({ type: 'Hostname', hostname: { value: 'hub.example' } }),
      [],
      'wss://hub.example:8091',
    ],
    [
      'an IPv6 address',
      entrypointOf({ type: 'Hostname', hostname: { value: '2001:db8::1' } }),
      [],
      'wss://[2001:db8::1]:8091',
    ],
    [
      'an ingress, whatever the port',
      entrypointOf({ type: 'Ingress', ingress: { host: 'hub.example' }, port: 8091 }),
      [],
      'wss://hub.example:443',
    ],
    [
      'an ingress on its own port',
      entrypointOf({ type: 'Ingress', ingress: { host: 'hub.example', port: 8443 } }),
      [],
      'wss://hub.example:8443',
    ],
    [
      'a load balancer with an address',
      entrypointOf(balancer),
      [loadBalancer([{ ip: '198.51.100.7' }])],
      'wss://198.51.100.7:443',
    ],
    [
      'a load balancer with a name alone',
      entrypointOf(balancer),
      [loadBalancer([{ hostname: 'elb.example' }])],
      'wss://elb.example:443',
    ],
    [
      'the first usable address',
      entrypointOf(balancer),
      [loadBalancer([{}, { ip: '', hostname: 'elb.example' }])],
      'wss://elb.example:443',
    ],
    [
      'a renamed load balancer',
      entrypointOf({ ...balancer, loadBalancerService: { name: 'lb' } }),
      [loadBalancer([{ ip: '198.51.100.7' }], 'lb')],
      'wss://198.51.100.7:443',
    ],
  ])('resolveEntrypoint leads agents to %s', (_what, configuration, objects, url) => {
    expect(resolveEntrypoint(configuration, objects)).toMatchObject({ url });
  });

  it.each([8091, 443, 30_091])(
    'resolveEntrypoint leads agents through the kube-apiserver, whatever the port (%i)',
    (port) => {
      const configuration = entrypointOf({ type: 'PortForward', port });
      expect(resolveEntrypoint(configuration, [])).toEqual({
        kind: 'PortForward',
        viaHub,
      });
    },
  );

  it('resolveEntrypoint leads agents through the kube-apiserver by default', () => {
    expect(resolveEntrypoint(parseManagedProxyConfiguration({}), [])).toMatchObject({ viaHub });
  });

  it.each([
    ['that it does not exist', [], `Service ${hub}/proxy-agent-entrypoint does not exist yet`],
    ['that it has no address', [loadBalancer()], 'has no address yet'],
    ['that its list is empty', [loadBalancer([])], 'has no address yet'],
    [
      'that only a Service of another name exists',
      [loadBalancer([{ ip: '198.51.100.7' }], 'other')],
      'does not exist yet',
    ],
  ])('resolveEntrypoint waits for a load balancer and reports %s', (_what, objects, sentence) => {
    const resolved = resolveEntrypoint(entrypointOf(balancer), objects);
    expect(resolved).toEqual({ pending: expect.stringContaining(sentence) });
  });

  it.each([{ type: 'Hostname' }, { type: 'Ingress' }])(
    'resolveEntrypoint waits for a name with %j',
    (entrypoint) => {
      expect(resolveEntrypoint(entrypointOf(entrypoint), [])).toEqual({
        pending: expect.stringContaining('is missing'),
      });
    },
  );
});

describe('portForwardRole', () => {
  it('portForwardRole is for agents that connect through the kube-apiserver', () => {
    const resolve = (entrypoint: object) => {
      const configuration = entrypointOf({ ...entrypoint });
      const resolved = resolveEntrypoint(configuration, []);
      if ('pending' in resolved) throw new Error(resolved.pending);
      return portForwardRole(configuration, resolved);
    };
    expect(resolve({ type: 'PortForward' })).toEqual({
      namespace: hub,
      name: 'cluster-proxy-addon-agent:portforward',
      owner: expect.objectContaining({ kind: 'ManagedProxyConfiguration', name: 'cluster-proxy' }),
    });
    expect(resolve({ type: 'Hostname', hostname: { value: 'hub.example' } })).toBeUndefined();
  });
});

describe('serverSans', () => {
  const always = [
    '127.0.0.1',
    'localhost',
    `proxy-entrypoint.${hub}`,
    `proxy-entrypoint.${hub}.svc`,
  ];
  it.each([
    ['nothing more by default', configurationOf(), [], []],
    [
      'the name of the hub',
      entrypointOf({ type: 'Hostname', hostname: { value: 'hub.example' } }),
      [],
      ['hub.example'],
    ],
    [
      'the host of an ingress',
      entrypointOf({ type: 'Ingress', ingress: { host: 'hub.example' } }),
      [],
      ['hub.example'],
    ],
    [
      'all addresses of a load balancer',
      entrypointOf(balancer),
      [loadBalancer([{ ip: '198.51.100.7' }, { hostname: 'elb.example' }])],
      ['198.51.100.7', 'elb.example'],
    ],
    [
      'nothing of a load balancer that is not configured',
      configurationOf(),
      [loadBalancer([{ ip: '198.51.100.7' }])],
      [],
    ],
  ])('serverSans contain %s', (_what, configuration, objects, more) => {
    expect(serverSans(configuration, objects)).toEqual([...always, ...more]);
  });

  it('serverSans follow the name of the Service, and begin with the configured names, without duplicates', () => {
    const object = configurationObject({ inClusterServiceName: 'entry', namespace: 'hub' });
    const configuration = parseManagedProxyConfiguration({
      ...object,
      spec: {
        ...(object['spec'] as object),
        authentication: {
          signer: { selfSigned: { additionalSANs: ['foo', 'localhost', '10.0.0.1'] } },
        },
      },
    });
    expect(serverSans(configuration, [])).toEqual([
      'foo',
      'localhost',
      '10.0.0.1',
      '127.0.0.1',
      'entry.hub',
      'entry.hub.svc',
    ]);
  });
});
