import { describe, expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { textIn } from '../../../src/addon/rotation/secret.ts';
import { organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { csrObject } from '../csr/csr-objects.ts';
import { addOn, hub, HubWorld, managedCluster } from '../controllers/hub-world.ts';

const live = { signal: new AbortController().signal };
const cluster = 'cluster1';
const workName = 'addon-cluster-proxy-deploy-0';
const agentSigner = 'proxy.open-cluster-management.io/agent-signer';

async function running() {
  const world = await HubWorld.create({ clusters: [cluster, 'cluster2'] });
  await world.start();
  await world.until(() => world.work(cluster) !== undefined);
  await world.settle();
  return world;
}

/**
 * Deletes a ManagedCluster as OCM and the garbage collector do, except its works, which the
 * klusterlet releases.
 */
async function remove(world: HubWorld): Promise<void> {
  await world.api.delete(world.ref('ManagedClusterAddOn', 'cluster-proxy', cluster), live);
  await world.api.delete(world.ref('ManagedCluster', cluster), live);
}
const removeWork = (world: HubWorld) =>
  world.api.delete(world.ref('ManifestWork', workName, cluster), live);
const register = (world: HubWorld) => {
  world.api.put(managedCluster(cluster));
  world.api.put(addOn(cluster));
};
const ownersOf = (world: HubWorld, kind: string, name: string) =>
  world.find(kind, name, cluster)?.metadata.ownerReferences?.map(({ uid }) => uid);
const unitOf = (world: HubWorld) =>
  organizationalUnitOf(textIn(world.find('Secret', 'cluster-proxy-agent-signer', hub), 'ca.crt')!);
async function request(world: HubWorld, name: string): Promise<void> {
  const object = await csrObject({ unit: unitOf(world) });
  world.api.put({ ...object, metadata: { ...object.metadata, name } });
  await world.until(() => certificateOf(world, name) !== undefined, { withinMs: 5_000 });
  await world.settle();
}
const certificateOf = (world: HubWorld, name: string) =>
  fields(world.find('CertificateSigningRequest', name)?.['status'])['certificate'];

function expectServed(world: HubWorld): void {
  const { uid } = world.addOn(cluster)!.metadata;
  expect(ownersOf(world, 'ManifestWork', workName)).toEqual([uid]);
  for (const kind of ['Role', 'RoleBinding']) {
    expect(ownersOf(world, kind, 'cluster-proxy-addon-agent')).toEqual([uid]);
  }
  const way = `cluster-proxy-addon-agent:portforward:${cluster}`;
  expect(world.find('RoleBinding', way, hub)).toBeDefined();
  const status = fields(world.addOn(cluster)?.['status']);
  expect(items(status['registrations'])).toHaveLength(2);
  expect(world.condition(world.addOn(cluster), 'RegistrationApplied')).toMatchObject({
    status: 'True',
  });
}

describe('a cluster that is deleted and created again', () => {
  it.each([
    ['at once', 0],
    ['while a cache may still be behind', 500],
    ['some seconds later', 5_000],
  ])(
    'A cluster that is created again %s gets its agent, its rights and its registrations',
    async (_, pauseMs) => {
      const world = await running();
      const before = world.addOn(cluster)!.metadata.uid;
      await remove(world);
      await removeWork(world);
      await world.pass(pauseMs);
      register(world);
      expect(world.addOn(cluster)!.metadata.uid).not.toBe(before);
      const isServed = () => ownersOf(world, 'ManifestWork', workName)?.[0] !== undefined;
      await world.until(isServed, { withinMs: 10_000 });
      await world.settle();
      expectServed(world);
    },
  );

  it('A recreated cluster gets its agent after the klusterlet has released the earlier work', async () => {
    const world = await running();
    await remove(world);
    register(world);
    await world.settle();
    // The work already belongs to the new addon, and is deleted anyway.
    await removeWork(world);
    await world.until(() => world.work(cluster) !== undefined, { withinMs: 10_000 });
    await world.settle();
    expectServed(world);
  });

  it('A recreated cluster gets its agent when its namespace exists again', async () => {
    const world = await running();
    await remove(world);
    await removeWork(world);
    await world.api.delete(world.ref('Namespace', cluster), live);
    await world.settle();
    world.addCluster(cluster);
    await world.until(() => world.work(cluster) !== undefined, { withinMs: 60_000 });
    await world.settle();
    expectServed(world);
  });

  it('A recreated cluster gets a certificate for the same request, and has no record of an earlier one', async () => {
    const world = await running();
    await request(world, 'before');
    expect(world.addOn(cluster)?.metadata.annotations).toHaveProperty([agentSigner]);
    await remove(world);
    await removeWork(world);
    await world.settle();
    register(world);
    await world.until(() => world.work(cluster) !== undefined, { withinMs: 10_000 });
    await world.settle();
    expect(world.addOn(cluster)?.metadata.annotations ?? {}).not.toHaveProperty([agentSigner]);
    await request(world, 'after');
    expect(world.addOn(cluster)?.metadata.annotations).toMatchObject({
      [agentSigner]: unitOf(world),
    });
  });
});
