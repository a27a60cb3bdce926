import { describe, expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { textIn } from '../../../src/addon/rotation/secret.ts';
import { organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { csrObject, type CsrParts, klusterlet, kubeSigner, mixedKeys } from './csr-objects.ts';
import { addOn, hub, HubWorld, managedCluster } from '../controllers/hub-world.ts';

const live = { signal: new AbortController().signal };

async function running() {
  const world = await HubWorld.create();
  await world.start();
  await world.until(() => world.work('cluster1') !== undefined);
  await world.settle();
  return world;
}

/** Makes a request for the present CA, as the klusterlet of a cluster does. */
async function request(world: HubWorld, name: string, parts: CsrParts = {}): Promise<void> {
  const object = await csrObject({ unit: unitOf(world), ...parts });
  world.api.put({ ...object, metadata: { ...object.metadata, name } });
}
const unitOf = (world: HubWorld) =>
  organizationalUnitOf(textIn(world.find('Secret', 'cluster-proxy-agent-signer', hub), 'ca.crt')!);
const approved = { type: 'Approved', status: 'True', reason: 'ByHand', message: '' };
const csr = (world: HubWorld, name: string) => world.find('CertificateSigningRequest', name);
const conditions = (world: HubWorld, name: string) =>
  items(fields(csr(world, name)?.['status'])['conditions']).map(
    ({ type, reason }) => `${type as string} ${reason as string}`,
  );
const certificate = (world: HubWorld, name: string) =>
  fields(csr(world, name)?.['status'])['certificate'];

describe('a request for a certificate', () => {
  it('A request of a klusterlet for its own agent is approved and signed by the CA that brokers trust', async () => {
    const world = await running();
    await request(world, 'good');
    await world.until(() => certificate(world, 'good') !== undefined, { withinMs: 5_000 });
    const [leaf] = parseCertificates(
      Buffer.from(certificate(world, 'good') as string, 'base64').toString(),
    );
    const [ca] = parseCertificates(textIn(world.find('Secret', 'agent-ca', hub), 'ca.crt')!);
    expect(await leaf!.isIssuedBy(ca!)).toBe(true);
    expect(leaf!.purposes).toEqual(['clientAuth']);
    await world.settle();
    expect(conditions(world, 'good')).toEqual(['Approved AutoApprovedByHubCSRApprovingController']);
  });

  it('A request for the kube-apiserver is approved, and another signer signs it', async () => {
    const world = await running();
    await request(world, 'kube', { signer: kubeSigner });
    await world.until(() => conditions(world, 'kube').length > 0, { withinMs: 5_000 });
    await world.settle();
    expect(conditions(world, 'kube')).toEqual(['Approved AutoApprovedByHubCSRApprovingController']);
    expect(certificate(world, 'kube')).toBeUndefined();
  });

  it.each<[string, CsrParts, string]>([
    ['of another cluster', { spec: klusterlet('cluster2') }, 'ForeignRequester'],
    ['with another subject', { subject: { commonName: 'system:admin' } }, 'ForeignSubject'],
    ['with a group too many', { subject: { organizations: ['system:masters'] } }, 'ForeignSubject'],
    ['with unreadable content', { pem: 'nonsense' }, 'Unreadable'],
  ])('A request %s is denied', async (_, asked, reason) => {
    const world = await running();
    await request(world, 'bad', asked);
    await world.until(() => conditions(world, 'bad').length > 0, { withinMs: 5_000 });
    await world.settle();
    expect(conditions(world, 'bad')).toEqual([`Denied ${reason}`]);
    expect(certificate(world, 'bad')).toBeUndefined();
  });

  it('A request that is not signed with its own key is denied', async () => {
    const world = await running();
    await request(world, 'bad', { keys: await mixedKeys() });
    await world.until(() => conditions(world, 'bad').length > 0, { withinMs: 5_000 });
    expect(conditions(world, 'bad')).toEqual(['Denied Unproven']);
  });

  it('A request that no klusterlet made is left to people, and is signed when a person approves it', async () => {
    const world = await running();
    await request(world, 'strange', {
      spec: { username: 'kubernetes-admin', groups: ['system:masters'] },
    });
    await world.settle();
    expect(conditions(world, 'strange')).toEqual([]);
    const patch = { status: { conditions: [approved] } };
    await world.api.as('person').patch(world.ref('CertificateSigningRequest', 'strange'), patch, {
      ...live,
      subresource: 'approval',
    });
    await world.until(() => certificate(world, 'strange') !== undefined, { withinMs: 5_000 });
  });

  it('A request that was approved wrongly is not signed, and reports why', async () => {
    const world = await running();
    await request(world, 'wrong', {
      subject: { organizations: ['system:masters'] },
      conditions: [approved],
    });
    await world.until(() => conditions(world, 'wrong').length > 1, { withinMs: 5_000 });
    await world.settle();
    expect(conditions(world, 'wrong')).toEqual([
      'Approved ByHand',
      'Failed SignerValidationFailure',
    ]);
    expect(certificate(world, 'wrong')).toBeUndefined();
  });

  it('A request of a cluster waits until the hub accepts the cluster', async () => {
    const world = await running();
    world.addCluster('cluster2');
    world.api.put(managedCluster('cluster2', false));
    await request(world, 'early', { cluster: 'cluster2' });
    await request(world, 'earlier', { cluster: 'cluster2', conditions: [approved] });
    await world.settle();
    expect(conditions(world, 'early')).toEqual([]);
    expect(certificate(world, 'earlier')).toBeUndefined();
    const patch = { spec: { hubAcceptsClient: true } };
    await world.api.as('person').patch(world.ref('ManagedCluster', 'cluster2'), patch, live);
    await world.until(() => certificate(world, 'early') !== undefined, { withinMs: 5_000 });
    expect(certificate(world, 'earlier')).toBeDefined();
  });

  it('A request that comes before its addon waits for the addon', async () => {
    const world = await running();
    world.addCluster('cluster3');
    await world.api.delete(world.ref('ManagedClusterAddOn', 'cluster-proxy', 'cluster3'), live);
    await request(world, 'first', { cluster: 'cluster3' });
    await world.settle();
    expect(conditions(world, 'first')).toEqual([]);
    world.api.put(addOn('cluster3'));
    await world.until(() => certificate(world, 'first') !== undefined, { withinMs: 5_000 });
  });

  it('A request with other labels is not touched', async () => {
    const world = await running();
    await request(world, 'other');
    const object = csr(world, 'other')!;
    world.api.put({ ...object, metadata: { ...object.metadata, name: 'unlabelled', labels: {} } });
    await world.settle();
    expect(conditions(world, 'unlabelled')).toEqual([]);
  });
});
