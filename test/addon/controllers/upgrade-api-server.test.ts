import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningAddon, startAddon } from '../../../src/addon/addon.ts';
import { findCondition, parseConditions } from '../../../src/addon/api/condition.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import type { KubeObject } from '../../../src/kube/kube-object.ts';
import { describeWith } from '../../ground/describe-with.ts';
import { apiServerPrograms, findPrograms } from '../../ground/kubernetes/programs.ts';
import { upstreamObjects } from '../hub/upstream-objects.ts';
import { MemoryLog } from './memory-log.ts';
import { eventually, hubNs, RealHub } from './real-hub.ts';

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

  it('takes all of it over: nothing is in the way', async () => {
    const applied = await eventually(async () => {
      const { status } = await configuration();
      const found = findCondition(parseConditions(fields(status)['conditions']), 'HubApplied');
      return found?.status === 'True' ? found : Promise.reject(new Error(JSON.stringify(found)));
    });
    expect(applied.reason).toBe('Applied');
  });

  it('takes the port of konnectivity clients off the load balancer', async () => {
    const ports = async () => {
      const { spec } = await get('service', 'proxy-agent-entrypoint', '-n', hubNs);
      return items(fields(spec)['ports']).map(({ port }) => port);
    };
    expect(await ports()).toEqual([8091]);
  });
});
