import { describe, expect, it } from 'vitest';
import { fields } from '../../src/addon/api/fields.ts';
import { KubeError } from '../../src/kube/client/kube-error.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';
import { MemoryLog } from './controllers/memory-log.ts';
import { configuration, hub, HubWorld, isWrite } from './controllers/hub-world.ts';

const here = { host: '127.0.0.1', port: 0 };
const get = async (address: string | undefined, path: string) => {
  const answer = await fetch(`http://${address}${path}`);
  return { status: answer.status, text: await answer.text() };
};
const lease = (world: HubWorld) =>
  fields(world.find('Lease', 'cluster-proxy-addon-manager', hub)?.['spec']);

describe('the addon manager', () => {
  it('The addon manager makes a hub from a configuration, and an agent for each cluster', async () => {
    const world = await HubWorld.create({ clusters: ['cluster1', '2nd-cluster'] });
    const addon = await world.start();
    await world.until(() => world.work('cluster1') !== undefined);
    await world.settle();
    expect(addon).toMatchObject({ isLeading: true, unready: undefined });
    expect(world.find('Deployment', 'cluster-proxy', hub)).toBeDefined();
    expect(world.find('Secret', 'proxy-client', hub)).toBeDefined();
    expect(world.work('2nd-cluster')).toBeDefined();
  });

  it('The addon manager works only while it leads, and a ready replica continues when the leader leaves', async () => {
    const world = await HubWorld.create();
    const first = await world.start({ identity: 'first' });
    await world.until(() => world.work('cluster1') !== undefined);
    const second = await world.start({ identity: 'second' });
    await world.settle();
    expect(lease(world)).toMatchObject({ holderIdentity: 'first' });
    expect(second).toMatchObject({ isLeading: false, unready: undefined });
    await world.stop(first);
    // The second replica may have taken the Lease that the first one gave up.
    const { holderIdentity } = lease(world) as { readonly holderIdentity: string };
    expect(['', 'second']).toContain(holderIdentity);
    await world.until(() => second.isLeading, { withinMs: 10_000 });
    world.addCluster('cluster2');
    await world.until(() => world.work('cluster2') !== undefined, { withinMs: 10_000 });
  });

  it('The addon manager without an election works at once and writes no Lease', async () => {
    const world = await HubWorld.create();
    await world.start({ leaderElect: false });
    await world.until(() => world.work('cluster1') !== undefined);
    expect(world.find('Lease', 'cluster-proxy-addon-manager', hub)).toBeUndefined();
  });

  it('The addon manager waits for a hub that is away or does not know OCM, and reports it', async () => {
    const world = new HubWorld();
    const api = new MemoryKubeApi({ namespaces: [hub] });
    api.goAway();
    const addon = await world.start({ healthListen: here }, new MemoryLog(), api);
    await world.until(() => addon.unready?.includes('it is away') === true);
    expect(await get(addon.healthAddress, '/healthz')).toEqual({ status: 200, text: 'ok\n' });
    expect((await get(addon.healthAddress, '/readyz')).status).toBe(503);
    api.comeBack();
    await world.until(() => addon.unready?.includes('install Open Cluster Management') === true);
    const group = 'addon.open-cluster-management.io';
    const spec = {
      group,
      scope: 'Namespaced',
      names: { kind: 'ManagedClusterAddOn' },
      versions: [{ name: 'v1beta1' }],
    };
    const metadata = { name: `managedclusteraddons.${group}` };
    const definition = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' };
    api.put({ ...definition, metadata, spec });
    await world.until(() => addon.isLeading);
    // The other kinds are not served yet.
    await world.until(() => addon.unready?.includes('not served') === true);
  });

  it('The addon manager reports at /readyz what it may not read, and is ready when it may', async () => {
    const world = await HubWorld.create();
    const sentence = 'User "manager" cannot list resource "managedclusters" at the cluster scope';
    let isForbidden = true;
    world.intercept = ({ kind, verb }) =>
      isForbidden && kind === 'ManagedCluster' && verb === 'list'
        ? new KubeError('forbidden', sentence, { status: 403 })
        : undefined;
    const log = new MemoryLog();
    const addon = await world.start({ healthListen: here, metricsListen: here }, log);
    await world.until(() => world.condition(world.configuration, 'HubApplied') !== undefined);
    expect(await get(addon.healthAddress, '/readyz')).toEqual({
      status: 503,
      text: `${sentence}\n`,
    });
    expect(log.warnings).toContainEqual(expect.stringContaining(sentence));
    isForbidden = false;
    await world.until(() => world.work('cluster1') !== undefined, { withinMs: 30_000 });
    expect((await get(addon.healthAddress, '/readyz')).status).toBe(200);
    expect((await get(addon.healthAddress, '/metrics')).status).toBe(404);
    const { text } = await get(addon.metricsAddress, '/metrics');
    expect(text).toContain('culvert_addon_leading 1\n');
    for (const ca of ['konnectivity', 'agents']) {
      expect(text).toContain(`culvert_addon_ca_rotation_stage{ca="${ca}"} 0\n`);
      expect(text).toContain(`culvert_addon_ca_rotation_clusters_behind{ca="${ca}"} 0\n`);
    }
    expect(text).toMatch(/culvert_addon_reconciled_total\{controller="clusters"\} [1-9]/);
  });

  it('The addon manager refuses to start if its address is in use', async () => {
    const world = await HubWorld.create();
    const addon = await world.start({ healthListen: here });
    const port = Number(addon.healthAddress?.split(':').at(-1));
    await expect(world.start({ healthListen: { ...here, port } })).rejects.toThrow('EADDRINUSE');
  });

  it('The addon manager writes nothing after it is stopped', async () => {
    const world = await HubWorld.create();
    const addon = await world.start();
    await world.until(() => world.writes > 3);
    await world.stop(addon);
    world.api.calls.length = 0;
    await world.clock.advance(60_000);
    expect(world.api.calls.filter(isWrite)).toEqual([]);
    world.api.put(configuration({ replicas: 2 }));
    await world.clock.advance(60_000);
    expect(world.api.calls).toEqual([]);
  });
});
