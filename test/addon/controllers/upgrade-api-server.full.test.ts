import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningAddon, startAddon } from '../../../src/addon/addon.ts';
import { findCondition, parseConditions } from '../../../src/addon/api/condition.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { upstreamObjects } from '../hub/upstream-objects.ts';
import { MemoryLog } from './memory-log.ts';
import { eventually, hubNs, RealHub } from '../../../testkit/world/real-hub.ts';

const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'the addon manager on a hub that has Cluster Proxy', ({ programs }) => {
  let hub: RealHub;
  let addon: RunningAddon;
  beforeAll(async () => {
    hub = await RealHub.start(programs, { proxyServer: { entrypointLoadBalancer: true } });
    const { metadata } = await configuration();
    for (const object of upstreamObjects(hubNs, String(metadata.uid))) {
      await hub.server.kubectl(['create', '--field-manager=manager', '-f', '-'], {
        input: JSON.stringify(object),
      });
    }
    addon = await startAddon(hub.options, { log: new MemoryLog() });
  }, 120_000);
  afterAll(async () => {
    await addon?.close();
    await hub?.[Symbol.asyncDispose]();
  });
  const get = (...args: string[]) => hub.server.get<KubeObject>(...args);
  const configuration = () => get('managedproxyconfiguration', 'cluster-proxy');

  it('The addon manager takes over all objects of Cluster Proxy, and none conflicts', async () => {
    const applied = await eventually(async () => {
      const { status } = await configuration();
      const found = findCondition(parseConditions(fields(status)['conditions']), 'HubApplied');
      return found?.status === 'True' ? found : Promise.reject(new Error(JSON.stringify(found)));
    });
    expect(applied.reason).toBe('Applied');
  });

  const applied = async () => {
    const { status } = await configuration();
    return findCondition(parseConditions(fields(status)['conditions']), 'HubApplied');
  };
  const edit = (proxyServer: object) =>
    hub.server.kubectl([
      ...['patch', 'managedproxyconfiguration', 'cluster-proxy', '--type=merge'],
      ...['-p', JSON.stringify({ spec: { proxyServer } })],
    ]);

  it.each([
    [
      'a namespace that is not its own',
      { namespace: 'elsewhere' },
      { namespace: hubNs },
      [
        'spec.proxyServer.namespace is elsewhere: the account of the addon manager needs there',
        'namespace "elsewhere"',
      ],
    ],
    [
      'a Service that the chart does not know',
      { inClusterServiceName: 'other', entrypoint: { type: 'PortForward' } },
      { inClusterServiceName: null, entrypoint: { type: 'LoadBalancerService' } },
      [
        'Resources:["services/proxy"], ResourceNames:["https:other:agent-server"], Verbs:["get"]',
        'grant that to the account of the addon manager',
      ],
    ],
  ])(
    'The addon manager names the missing permission for %s, and continues',
    async (_what, to, back, words) => {
      await edit(to);
      const missing = await eventually(async () => {
        const found = await applied();
        return found?.status === 'False' ? found : undefined;
      });
      for (const word of words) expect(missing.message).toContain(word);
      await edit(back);
      const mended = await eventually(async () => {
        const found = await applied();
        return found?.status === 'True' ? found : undefined;
      });
      expect(mended.reason).toBe('Applied');
    },
    130_000,
  );

  it('The addon manager removes the port of konnectivity clients from the load balancer', async () => {
    const ports = async () => {
      const { spec } = await get('service', 'proxy-agent-entrypoint', '-n', hubNs);
      return items(fields(spec)['ports']).map(({ port }) => port);
    };
    expect(await ports()).toEqual([8091]);
  });
});
