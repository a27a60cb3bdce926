import { describe, expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { textIn } from '../../../src/addon/rotation/secret.ts';
import { organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { csrObject } from '../csr/csr-objects.ts';
import { hub, HubWorld, namespaceObject } from './hub-world.ts';

const live = { signal: new AbortController().signal };
const signers = ['cluster-proxy-signer', 'cluster-proxy-agent-signer'];
const bundles = ['proxy-server-ca', 'agent-ca'];

const caOf = (world: HubWorld, secret: string) =>
  textIn(world.find('Secret', secret, hub), 'ca.crt') ?? '';
const unitOf = (world: HubWorld) => organizationalUnitOf(caOf(world, 'cluster-proxy-agent-signer'));
const unitsOf = (world: HubWorld, cluster: string) => {
  const { registrations } = fields(world.addOn(cluster)?.['status']);
  return items(registrations).flatMap(
    ({ subject }) => fields(subject)['organizationUnit'] as readonly string[] | undefined,
  );
};
/** The CA bundle of the agent of a cluster. */
function bundleOf(world: HubWorld, cluster: string): string {
  const { workload } = fields(world.work(cluster)?.['spec']);
  const secret = items(fields(workload)['manifests']).find(({ kind }) => kind === 'Secret');
  return Buffer.from(String(fields(secret?.['data'])['ca.crt']), 'base64').toString();
}

/** Replaces the CAs, as rotations that have ended do: the previous CAs are not trusted any more. */
async function replaceAuthorities(world: HubWorld): Promise<void> {
  const before = unitOf(world);
  for (const name of [...bundles, ...signers]) {
    await world.api.delete(world.ref('Secret', name, hub), live);
  }
  await world.until(() => caOf(world, signers[1]!) !== '' && unitOf(world) !== before);
  await world.settle();
}

/**
 * Makes a backup, then a month of changes, then restores the backup.
 *
 * @param changesSince the number of changes between the restore and the manager's return
 */
async function restored(changesSince: number) {
  const world = await HubWorld.create({ clusters: ['cluster1'] });
  await world.start();
  await world.until(() => world.work('cluster1') !== undefined);
  await world.settle();
  const before = { unit: unitOf(world), bundle: caOf(world, 'proxy-server-ca') };
  const restore = world.api.backUp();

  world.addCluster('cluster2');
  await replaceAuthorities(world);
  expect(unitOf(world)).not.toBe(before.unit);
  expect(bundleOf(world, 'cluster1')).not.toContain(before.bundle);
  await world.api.delete(world.ref('Deployment', 'cluster-proxy', hub), live);
  await world.settle();

  world.api.goAway();
  // Too short for the manager to lose its Lease. Losing it would restart all informers anyway.
  await world.pass(3_000);
  restore();
  for (let count = 0; count < changesSince; count++) {
    world.api.put(namespaceObject(`made-since-${count}`));
  }
  world.api.comeBack();
  await world.pass(60_000);
  await world.settle();
  return { world, before };
}

describe.each([
  ['fewer', 0],
  ['more', 2_000],
])(
  'a hub that is restored from a backup, with %s changes after the restore than before',
  (_, changes) => {
    it('A restored hub tells clusters to trust the CAs of the backup and to request certificates of them', async () => {
      const { world, before } = await restored(changes);
      expect(unitOf(world)).toBe(before.unit);
      expect(caOf(world, 'proxy-server-ca')).toBe(before.bundle);
      expect(bundleOf(world, 'cluster1')).toContain(before.bundle);
      expect(unitsOf(world, 'cluster1')).toContain(before.unit);
      expect(world.condition(world.configuration, 'HubApplied')).toMatchObject({ status: 'True' });
    });

    it('A restored hub signs with the CA of the backup, and notices clusters that are registered again', async () => {
      const { world } = await restored(changes);
      const object = await csrObject({ unit: unitOf(world) });
      world.api.put({ ...object, metadata: { ...object.metadata, name: 'again' } });
      const certificate = () =>
        fields(world.find('CertificateSigningRequest', 'again')?.['status'])['certificate'];
      await world.until(() => certificate() !== undefined, { withinMs: 10_000 });
      const [leaf] = parseCertificates(Buffer.from(certificate() as string, 'base64').toString());
      const [ca] = parseCertificates(caOf(world, 'agent-ca'));
      expect(await leaf!.isIssuedBy(ca!)).toBe(true);

      expect(world.work('cluster2')).toBeUndefined();
      world.addCluster('cluster2');
      await world.until(() => world.work('cluster2') !== undefined, { withinMs: 10_000 });
      expect(bundleOf(world, 'cluster2')).toContain(caOf(world, 'proxy-server-ca'));
    });

    it('A restored hub repairs objects that are deleted after the restore', async () => {
      const { world } = await restored(changes);
      for (const [kind, name, namespace] of [
        ['Deployment', 'cluster-proxy', hub],
        ['ManifestWork', 'addon-cluster-proxy-deploy-0', 'cluster1'],
      ] as const) {
        await world.api.delete(world.ref(kind, name, namespace), live);
        await world.until(() => world.find(kind, name, namespace) !== undefined, {
          withinMs: 10_000,
        });
      }
      await world.settle();
      expect(world.condition(world.configuration, 'HubApplied')).toMatchObject({ status: 'True' });
    });
  },
);
