import { describe, expect, it } from 'vitest';
import { parseManagedClusterAddOn } from '../../../src/addon/api/managed-cluster-addon.ts';
import { fields } from '../../../src/addon/api/fields.ts';
import { dayMs } from '../../../src/addon/rotation/lifetimes.ts';
import { annotations, textIn } from '../../../src/addon/rotation/secret.ts';
import { agentSignerName } from '../../../src/base/names/agent-subject.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { csrObject } from '../csr/csr-objects.ts';
import { configuration, hub, HubWorld, isWrite } from '../controllers/hub-world.ts';
import { MemoryLog } from '../controllers/memory-log.ts';
import { condition as conditionWith } from '../api/ocm-objects.ts';

const live = { signal: new AbortController().signal };
const agentSigner = 'cluster-proxy-agent-signer';
const alone = { leaderElect: false };
/** Longer than the hub waits between two reconciles. */
const look = { withinMs: 3_700_000, stepMs: 10_000 };

async function installed(clusters: readonly string[], log = new MemoryLog()) {
  const world = await HubWorld.create({ clusters });
  const addon = await world.start(alone, log);
  await world.until(() => clusters.every((cluster) => world.work(cluster) !== undefined));
  await world.settle();
  return { world, addon, log };
}
const addOn = (world: HubWorld, cluster: string) => parseManagedClusterAddOn(world.addOn(cluster)!);
const recorded = (world: HubWorld, cluster: string) =>
  addOn(world, cluster).agentSigner?.organizationalUnit;
/** The CA that the klusterlet of a cluster must request a certificate of. */
const unitFor = (world: HubWorld, cluster: string) =>
  addOn(world, cluster).registrations.find(({ signer }) => signer === agentSignerName)
    ?.organizationalUnits[0];
const condition = (world: HubWorld, type = 'AgentSignerRotating') =>
  world.condition(world.configuration, type);
const bundle = (world: HubWorld, name = 'agent-ca') =>
  parseCertificates(textIn(world.find('Secret', name, hub), 'ca.crt')!);
const leaf = (world: HubWorld, name: string) =>
  parseCertificates(textIn(world.find('Secret', name, hub), 'tls.crt')!)[0]!;

/** Whether the work of a cluster holds the present CA bundle. */
function brings(world: HubWorld, cluster: string): boolean {
  const trusted = bundle(world, 'proxy-server-ca')
    .map(({ pem }) => pem)
    .join('');
  return JSON.stringify(world.work(cluster)).includes(Buffer.from(trusted).toString('base64'));
}

let requests = 0;
/** Requests a certificate for the new subject, as the klusterlet does. */
async function ask(world: HubWorld, cluster: string): Promise<void> {
  const object = await csrObject({ cluster, unit: unitFor(world, cluster) });
  const name = `${object.metadata.name}-${requests++}`;
  world.api.put({ ...object, metadata: { ...object.metadata, name } });
}

async function askAndHear(world: HubWorld, cluster: string): Promise<void> {
  await ask(world, cluster);
  const unit = unitFor(world, cluster);
  await world.until(() => recorded(world, cluster) === unit, { withinMs: 5_000 });
}

const rotate = (world: HubWorld, signer = agentSigner) =>
  world.api
    .as('person')
    .patch(
      world.ref('Secret', signer, hub),
      { metadata: { annotations: { [annotations.rotateCa]: 'now' } } },
      live,
    );

/** Lets time pass until the agents' next CA signs, and the klusterlets know it. */
async function rotated(world: HubWorld, clusters: readonly string[]): Promise<void> {
  const before = unitFor(world, clusters[0]!);
  await rotate(world);
  await world.until(() => condition(world)?.['reason'] === 'Distributing');
  await world.until(() => condition(world)?.['reason'] === 'Retiring', { stepMs: 1_000 });
  await world.until(() => clusters.every((cluster) => unitFor(world, cluster) !== before));
}

describe("a rotation of the agents' CA", () => {
  it("A rotation of the agents' CA keeps the old CA until each cluster has a certificate of the new one, and names the clusters", async () => {
    const clusters = ['cluster1', 'cluster2', 'refused'];
    const { world, log } = await installed(clusters);
    for (const cluster of clusters) await askAndHear(world, cluster);
    expect(condition(world)).toMatchObject({ status: 'False', reason: 'Steady' });
    // The cluster does not have the addon any more.
    const refuse = { spec: { hubAcceptsClient: false } };
    await world.api.as('person').patch(world.ref('ManagedCluster', 'refused'), refuse, live);
    await rotated(world, ['cluster1', 'cluster2']);
    await world.until(() => String(condition(world)?.['message']).endsWith(': cluster1, cluster2'));
    expect(log.infos.join('\n')).toMatch(/CA rotation entered the next stage.*retiring/);

    await askAndHear(world, 'cluster1');
    // Time for the klusterlet to fetch the certificate, and for the agent to read it.
    await world.until(() => String(condition(world)?.['message']).endsWith(': cluster2'), {
      withinMs: 720_000,
      stepMs: 5_000,
    });
    await world.until(() => false, look).catch(() => {});
    expect(condition(world)?.['reason']).toBe('Retiring');
    expect(bundle(world)).toHaveLength(2);

    await askAndHear(world, 'cluster2');
    await world.until(() => condition(world)?.['reason'] === 'Steady', {
      withinMs: 720_000,
      stepMs: 5_000,
    });
    expect(bundle(world)).toHaveLength(1);
    expect(log.warnings.join('\n')).not.toContain('no longer waits');
  });

  it('A rotation continues after a day without an absent cluster, which gets its certificate when it returns', async () => {
    const { world, log } = await installed(['here', 'away']);
    await rotated(world, ['here', 'away']);
    await askAndHear(world, 'here');
    world.wallAheadMs = dayMs;
    await world.until(() => condition(world)?.['reason'] === 'Retiring', look);
    world.wallAheadMs = dayMs + 3_600_000;
    await world.until(() => condition(world)?.['reason'] === 'Steady', look);
    expect(bundle(world)).toHaveLength(1);
    expect(log.warnings.join('\n')).toMatch(/no longer waits for clusters.*away/);
    await askAndHear(world, 'away');
  });

  it('A rotation learns after a restart which certificates were signed when the manager was killed', async () => {
    const { world, addon } = await installed(['cluster1']);
    world.intercept = ({ verb, kind, subresource }) =>
      verb === 'patch' && kind === 'ManagedClusterAddOn' && subresource === undefined
        ? new Error('killed')
        : undefined;
    await ask(world, 'cluster1');
    const signed = () =>
      world.api.calls.some(
        ({ kind, verb, subresource }) =>
          kind === 'CertificateSigningRequest' && verb === 'patch' && subresource === 'status',
      );
    await world.until(signed, { withinMs: 5_000 });
    await world.settle();
    await world.stop(addon);
    expect(recorded(world, 'cluster1')).toBeUndefined();
    world.intercept = () => undefined;
    await world.start(alone);
    await world.until(() => recorded(world, 'cluster1') !== undefined);
    expect(recorded(world, 'cluster1')).toBe(unitFor(world, 'cluster1'));
  });

  it('The hub is read once a minute and nothing else is written while a fleet gets its certificates', async () => {
    const clusters = Array.from({ length: 40 }, (_, index) => `cluster-${index}`);
    const { world } = await installed(clusters);
    await rotated(world, clusters);
    await world.settle();
    const before = world.api.calls.length;
    const startedMs = world.clock.now();
    for (const cluster of clusters) await ask(world, cluster);
    await world.until(() =>
      clusters.every((cluster) => recorded(world, cluster) === unitFor(world, cluster)),
    );
    await world.settle();
    const calls = world.api.calls.slice(before);
    const looks = calls.filter(({ verb, name }) => verb === 'get' && name === agentSigner).length;
    // A written status causes one more reconcile.
    expect(looks).toBeLessThanOrEqual(2 * Math.ceil((world.clock.now() - startedMs) / 60_000));
    const written = calls.filter(isWrite).map(({ kind, subresource }) => `${kind} ${subresource}`);
    expect(new Set(written).difference(new Set(['ManagedProxyConfiguration status']))).toEqual(
      new Set([
        'CertificateSigningRequest approval',
        'CertificateSigningRequest status',
        'ManagedClusterAddOn undefined',
      ]),
    );
    expect(written.filter((what) => what === 'ManagedClusterAddOn undefined')).toHaveLength(40);
  });
});

describe("a rotation of the brokers' CA", () => {
  /** Reports the work as applied, as the work agent of a cluster does. */
  const takeOver = async (world: HubWorld, cluster: string) => {
    const { name, generation = 0 } = world.work(cluster)!.metadata;
    const applied = { ...conditionWith('Applied', 'True'), observedGeneration: generation };
    await world.api
      .as('work-agent')
      .patch(
        world.ref('ManifestWork', name, cluster),
        { status: { conditions: [applied] } },
        { ...live, subresource: 'status' },
      );
  };

  it("A rotation of the brokers' CA waits for a cluster without the bundle, because the manager was killed", async () => {
    const { world, addon } = await installed(['cluster1']);
    await takeOver(world, 'cluster1');
    world.intercept = ({ verb, kind }) =>
      verb === 'apply' && kind === 'ManifestWork' ? new Error('killed') : undefined;
    await rotate(world, 'cluster-proxy-signer');
    await world.until(() => bundle(world, 'proxy-server-ca').length === 2);
    await world.stop(addon);
    world.wallAheadMs = 3_600_000;
    await world.start(alone);
    await world.settle();
    expect(condition(world, 'SignerRotating')).toMatchObject({
      reason: 'Distributing',
      message: expect.stringMatching(/waits for 1 cluster without the newest CA bundle: cluster1$/),
    });
    world.intercept = () => undefined;
    await world.until(() => brings(world, 'cluster1'));
    await takeOver(world, 'cluster1');
    await world.until(() => condition(world, 'SignerRotating')?.['reason'] === 'Retiring', {
      withinMs: 120_000,
    });
  });
});

describe('while the configuration is wrong', () => {
  const ref = (world: HubWorld) => world.ref('ManagedProxyConfiguration', 'cluster-proxy');
  const patch = (world: HubWorld, spec: object) =>
    world.api.as('person').patch(ref(world), { spec }, live);
  const wrong = {
    authentication: { signer: { selfSigned: { additionalSANs: ['later.example'] } } },
    proxyServer: { entrypoint: { type: 'Hostname', port: 0 } },
  };
  const spoil = async (world: HubWorld, spec: object = wrong) => {
    await patch(world, spec);
    await world.until(() => condition(world, 'Valid')?.['status'] === 'False');
  };
  const expiry = (world: HubWorld, type = 'ProxyServerSecretSigned') =>
    String(condition(world, type)?.['message']).slice('Expiry:'.length, 'Expiry:2027-01-01'.length);
  const day = (date: Date) => date.toISOString().slice(0, 10);

  it('While the configuration is wrong, certificates are renewed with their names, and the status has their expiry', async () => {
    const { world } = await installed(['cluster1']);
    await spoil(world);
    const before = leaf(world, 'agent-server');
    expect(expiry(world)).toBe(day(before.notAfter));
    const deployment = world.find('Deployment', 'cluster-proxy', hub);
    world.wallAheadMs = 145 * dayMs;
    await world.until(() => leaf(world, 'agent-server').notAfter > before.notAfter, look);
    const after = leaf(world, 'agent-server');
    expect(after.alternativeNames).toEqual(before.alternativeNames);
    await world.until(() => expiry(world) === day(after.notAfter), { withinMs: 5_000 });
    expect(world.find('Deployment', 'cluster-proxy', hub)).toEqual(deployment);
  });

  it('While the configuration is wrong, a rotation continues and changes only the bundle of clusters', async () => {
    const { world } = await installed(['cluster1']);
    await spoil(world);
    await rotate(world, 'cluster-proxy-signer');
    await world.until(() => bundle(world, 'proxy-server-ca').length === 2);
    const next = bundle(world, 'proxy-server-ca')[1]!;
    await world.until(() => brings(world, 'cluster1'));
    expect(JSON.stringify(world.work('cluster1'))).not.toContain('later.example');
    await world.until(() => condition(world, 'SignerRotating')?.['reason'] === 'Distributing');
    // The rotation waits for the cluster, as usual.
    world.wallAheadMs = dayMs + 3_600_000;
    await world.until(() => condition(world, 'SignerRotating')?.['reason'] === 'Retiring', look);
    expect(await leaf(world, 'proxy-client').isIssuedBy(next)).toBe(true);
  });

  it('After a restart with a wrong configuration, rotations are paused, and certificates are renewed and signed', async () => {
    const { world, addon } = await installed(['cluster1']);
    await rotate(world);
    await world.until(() => condition(world)?.['reason'] === 'Distributing');
    await spoil(world);
    await world.stop(addon);
    const before = leaf(world, 'proxy-server');
    world.wallAheadMs = 145 * dayMs;
    await world.start(alone);
    await world.until(() => leaf(world, 'proxy-server').notAfter > before.notAfter);
    await askAndHear(world, 'cluster1');
    expect(condition(world)?.['reason']).toBe('Distributing');
    expect(condition(world)?.['message']).toContain('paused until Valid');
    const right = { type: 'PortForward', port: 443 };
    await patch(world, { ...wrong, proxyServer: { entrypoint: right } });
    await world.until(() => condition(world)?.['reason'] === 'Retiring');
    expect(leaf(world, 'proxy-server').alternativeNames.dns).toContain('later.example');
  });

  it("A wrong configuration that names another program's Secret does not change it", async () => {
    const { world } = await installed(['cluster1']);
    const { data } = world.find('Secret', 'proxy-server', hub)!;
    const theirs = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'mine', namespace: hub } };
    world.api.put({ ...theirs, data });
    await spoil(world, {
      ...wrong,
      authentication: { dump: { secrets: { signingProxyServerSecretName: 'mine' } } },
    });
    const before = leaf(world, 'agent-server');
    world.wallAheadMs = 145 * dayMs;
    await world.until(() => leaf(world, 'agent-server').notAfter > before.notAfter, look);
    expect(fields(world.find('Secret', 'mine', hub)?.['data'])).toEqual(data);
    expect(expiry(world)).toBe(day(before.notAfter));
  });

  it('When a wrong configuration is being deleted, nothing is renewed, and the status has the expiry', async () => {
    const made = configuration();
    const metadata = { ...made.metadata, finalizers: ['somebody.example/waits'] };
    const world = await HubWorld.create({ configuration: { ...made, metadata } });
    await world.start(alone);
    await world.until(() => condition(world, 'HubApplied') !== undefined);
    await world.settle();
    const before = leaf(world, 'proxy-server');
    await world.api.delete(ref(world), live);
    await world.settle();
    const writes = world.writes;
    world.wallAheadMs = 145 * dayMs;
    await world.until(() => false, look).catch(() => {});
    expect(world.writes).toBe(writes);
    expect(leaf(world, 'proxy-server').equals(before)).toBe(true);
    expect(expiry(world)).toBe(day(before.notAfter));
  });
});
