import { describe, expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { textIn } from '../../../src/addon/certificates/secret.ts';
import {
  agentRegistrations,
  organizationalUnitOf,
} from '../../../src/addon/registration/agent-identity.ts';
import { generateKeys, makeCertificateRequest, parseCertificates } from '../../../src/base/x509.ts';
import { addOn, hub, HubWorld, managedCluster } from './hub-world.ts';

const live = { signal: new AbortController().signal };
const agentSigner = 'open-cluster-management.io/proxy-agent-signer';
const kubeSigner = 'kubernetes.io/kube-apiserver-client';

async function running() {
  const world = await HubWorld.create();
  await world.start();
  await world.until(() => world.work('cluster1') !== undefined);
  await world.settle();
  return world;
}

interface Asked {
  readonly cluster?: string;
  readonly by?: string;
  readonly signer?: string;
  readonly subject?: object;
  readonly conditions?: readonly object[];
  readonly pem?: string;
}

/** A request as the klusterlet of a cluster makes it. */
async function request(world: HubWorld, name: string, asked: Asked = {}): Promise<void> {
  const {
    cluster = 'cluster1',
    by = `system:open-cluster-management:${cluster}:agent1`,
    signer = agentSigner,
  } = asked;
  const ca = textIn(world.find('Secret', 'cluster-proxy-agent-signer', hub), 'ca.crt')!;
  const registrations = agentRegistrations(cluster, organizationalUnitOf(ca));
  const { user, groups, organizationalUnits } = registrations.find((one) => one.signer === signer)!;
  const subject = {
    commonName: user,
    organizations: groups,
    organizationalUnits,
    ...asked.subject,
  };
  const pem = asked.pem ?? (await makeCertificateRequest(subject, await generateKeys('ecdsa')));
  world.api.put({
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name,
      labels: {
        'open-cluster-management.io/cluster-name': cluster,
        'open-cluster-management.io/addon-name': 'cluster-proxy',
      },
    },
    spec: {
      request: Buffer.from(pem).toString('base64'),
      signerName: signer,
      username: by,
      groups: [by.split(':').slice(0, 3).join(':'), 'system:authenticated'],
      usages: ['digital signature', 'key encipherment', 'client auth'],
    },
    status: { conditions: asked.conditions ?? [] },
  });
}
const approved = { type: 'Approved', status: 'True', reason: 'ByHand', message: '' };
const csr = (world: HubWorld, name: string) => world.find('CertificateSigningRequest', name);
const conditions = (world: HubWorld, name: string) =>
  items(fields(csr(world, name)?.['status'])['conditions']).map(
    ({ type, reason }) => `${type as string} ${reason as string}`,
  );
const certificate = (world: HubWorld, name: string) =>
  fields(csr(world, name)?.['status'])['certificate'];

type Subject = Parameters<typeof makeCertificateRequest>[0];

/** With the last byte of its signature turned over. */
async function broken(subject: Subject): Promise<string> {
  const pem = await makeCertificateRequest(subject, await generateKeys('ecdsa'));
  const [begin, ...lines] = pem.trim().split('\n');
  const der = Buffer.from(lines.slice(0, -1).join(''), 'base64');
  der[der.length - 1]! ^= 0xff;
  return [begin, der.toString('base64'), lines.at(-1), ''].join('\n');
}

async function weak(subject: Subject): Promise<string> {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024 };
  const publicExponent = new Uint8Array([1, 0, 1]);
  const keys = await crypto.subtle.generateKey({ ...algorithm, publicExponent }, true, [
    'sign',
    'verify',
  ]);
  return await makeCertificateRequest(subject, keys);
}

describe('a request for a certificate', () => {
  it('of the klusterlet for its own agent is approved and signed by the CA that brokers trust', async () => {
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

  it('for the kube-apiserver is approved, and signed by others', async () => {
    const world = await running();
    await request(world, 'kube', { signer: kubeSigner });
    await world.until(() => conditions(world, 'kube').length > 0, { withinMs: 5_000 });
    await world.settle();
    expect(conditions(world, 'kube')).toEqual(['Approved AutoApprovedByHubCSRApprovingController']);
    expect(certificate(world, 'kube')).toBeUndefined();
  });

  it.each<[string, Asked, string]>([
    [
      'of another cluster',
      { by: 'system:open-cluster-management:cluster2:agent1' },
      'ForeignRequester',
    ],
    ['with another subject', { subject: { commonName: 'system:admin' } }, 'ForeignSubject'],
    ['with a group too many', { subject: { organizations: ['system:masters'] } }, 'ForeignSubject'],
    ['that is none', { pem: 'nonsense' }, 'Unreadable'],
  ])('%s is denied', async (_, asked, reason) => {
    const world = await running();
    await request(world, 'bad', asked);
    await world.until(() => conditions(world, 'bad').length > 0, { withinMs: 5_000 });
    await world.settle();
    expect(conditions(world, 'bad')).toEqual([`Denied ${reason}`]);
    expect(certificate(world, 'bad')).toBeUndefined();
  });

  it.each([
    ['that is not signed with its own key', broken],
    ['for a key that is too short', weak],
  ])('%s is denied', async (_, make) => {
    const world = await running();
    const ca = textIn(world.find('Secret', 'cluster-proxy-agent-signer', hub), 'ca.crt')!;
    const [, registration] = agentRegistrations('cluster1', organizationalUnitOf(ca));
    const { user: commonName, groups: organizations, organizationalUnits } = registration!;
    const pem = await make({ commonName, organizations, organizationalUnits });
    await request(world, 'bad', { pem });
    await world.until(() => conditions(world, 'bad').length > 0, { withinMs: 5_000 });
    expect(conditions(world, 'bad')).toEqual(['Denied Unreadable']);
  });

  it('that no klusterlet made is left to people; approved by one it is signed', async () => {
    const world = await running();
    await request(world, 'strange', { by: 'kubernetes-admin' });
    await world.settle();
    expect(conditions(world, 'strange')).toEqual([]);
    const patch = { status: { conditions: [approved] } };
    await world.api.as('person').patch(world.ref('CertificateSigningRequest', 'strange'), patch, {
      ...live,
      subresource: 'approval',
    });
    await world.until(() => certificate(world, 'strange') !== undefined, { withinMs: 5_000 });
  });

  it('that somebody approved who should not have is not signed, and says why', async () => {
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

  it('of a cluster that is not accepted waits until it is', async () => {
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

  it('that comes before its addon waits for it', async () => {
    const world = await running();
    world.addCluster('cluster3');
    await world.api.delete(world.ref('ManagedClusterAddOn', 'cluster-proxy', 'cluster3'), live);
    await request(world, 'first', { cluster: 'cluster3' });
    await world.settle();
    expect(conditions(world, 'first')).toEqual([]);
    world.api.put(addOn('cluster3'));
    await world.until(() => certificate(world, 'first') !== undefined, { withinMs: 5_000 });
  });

  it('with other labels is nobody of ours', async () => {
    const world = await running();
    await request(world, 'other');
    const object = csr(world, 'other')!;
    world.api.put({ ...object, metadata: { ...object.metadata, name: 'unlabelled', labels: {} } });
    await world.settle();
    expect(conditions(world, 'unlabelled')).toEqual([]);
  });
});
