import { describe, expect, it } from 'vitest';
import { fields, text } from '../../../src/addon/api/fields.ts';
import { textIn } from '../../../src/addon/rotation/secret.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { KubeError } from '../../../src/kube/client/kube-error.ts';
import { tlsProfile } from './hub-fixture.ts';
import { configuration, hub, HubWorld, isWrite } from '../controllers/hub-world.ts';

const live = { signal: new AbortController().signal };

async function installed(
  options: Parameters<typeof HubWorld.create>[0] = {},
  parts: Parameters<HubWorld['start']>[0] = {},
) {
  const world = await HubWorld.create(options);
  const addon = await world.start(parts);
  await world.until(() => world.condition(world.configuration, 'HubApplied') !== undefined);
  await world.settle();
  return { world, addon };
}
const conditionOf = (world: HubWorld, type: string) => world.condition(world.configuration, type);

describe('the hub', () => {
  it('The hub is reported as applied, with signed certificates', async () => {
    const { world, addon } = await installed();
    expect(conditionOf(world, 'HubApplied')).toMatchObject({ status: 'True', reason: 'Applied' });
    expect(conditionOf(world, 'ProxyClientSecretSigned')).toMatchObject({ status: 'True' });
    expect(conditionOf(world, 'EntrypointReady')).toMatchObject({ status: 'True' });
    expect(addon.unready).toBeUndefined();
  });

  it('The hub is reconciled without a write if nothing has changed', async () => {
    const { world } = await installed({}, { leaderElect: false });
    const writes = world.writes;
    await world.clock.advance(2 * 3_600_000);
    await world.settle();
    expect(world.writes).toBe(writes);
  });

  it.each([
    ['Deployment', 'cluster-proxy'],
    ['Service', 'proxy-entrypoint'],
    ['Secret', 'proxy-server'],
    ['Secret', 'cluster-proxy-agent-signer'],
    ['Role', 'cluster-proxy-addon-agent:portforward'],
  ])('The hub gets its %s %s back within seconds', async (kind, name) => {
    const { world } = await installed();
    await world.api.delete(world.ref(kind, name, hub), live);
    await world.until(() => world.find(kind, name, hub) !== undefined, { withinMs: 5_000 });
    await world.settle();
    expect(conditionOf(world, 'HubApplied')).toMatchObject({ status: 'True' });
  });

  it('The hub gets back an object that is deleted just after it was made', async () => {
    const world = await HubWorld.create();
    await world.start();
    await world.until(() => world.find('Service', 'proxy-entrypoint', hub) !== undefined, {
      stepMs: 0,
    });
    await world.api.delete(world.ref('Service', 'proxy-entrypoint', hub), live);
    await world.until(() => world.find('Service', 'proxy-entrypoint', hub) !== undefined, {
      withinMs: 10_000,
    });
    await world.settle();
    expect(conditionOf(world, 'HubApplied')).toMatchObject({ status: 'True' });
  });

  it('The hub is repaired after a person has edited it', async () => {
    const { world } = await installed();
    const person = world.api.as('person');
    await person.patch(
      world.ref('Deployment', 'cluster-proxy', hub),
      { spec: { replicas: 9 } },
      live,
    );
    const replicas = () =>
      fields(world.find('Deployment', 'cluster-proxy', hub)?.['spec'])['replicas'];
    expect(replicas()).toBe(9);
    await world.until(() => replicas() === 3, { withinMs: 5_000 });
  });

  it('The hub gets new certificates in time, although no event occurs', async () => {
    const { world } = await installed({}, { leaderElect: false });
    const leaf = () =>
      parseCertificates(textIn(world.find('Secret', 'proxy-server', hub), 'tls.crt')!)[0]!;
    const before = leaf().notAfter;
    const dayMs = 24 * 3_600_000;
    const lookMs = { withinMs: 3_700_000, stepMs: 10_000 };
    world.wallAheadMs = 142 * dayMs;
    await world.until(() => false, lookMs).catch(() => {});
    expect(leaf().notAfter).toEqual(before);
    world.wallAheadMs = 145 * dayMs;
    await world.until(() => leaf().notAfter > before, lookMs);
  });

  it('The hub does not change while its configuration is wrong, reports the reason, and follows the corrected configuration', async () => {
    const { world } = await installed();
    const person = world.api.as('person');
    const ref = world.ref('ManagedProxyConfiguration', 'cluster-proxy');
    const entrypoint = (value: object) => ({ spec: { proxyServer: { entrypoint: value } } });
    await person.patch(ref, entrypoint({ type: 'Hostname', port: 0 }), live);
    await world.until(() => conditionOf(world, 'Valid')?.['status'] === 'False');
    expect(conditionOf(world, 'Valid')?.['message']).toContain('spec.proxyServer.entrypoint.port');
    expect(world.find('Role', 'cluster-proxy-addon-agent:portforward', hub)).toBeDefined();
    // New clusters get the last valid configuration.
    world.addCluster('late');
    await world.until(() => world.work('late') !== undefined);
    await person.patch(ref, entrypoint({ port: 443, hostname: { value: 'hub.example' } }), live);
    await world.until(() => conditionOf(world, 'Valid')?.['status'] === 'True');
    await world.until(() => JSON.stringify(world.work('late')).includes('wss://hub.example:443'));
  });

  it("The hub does not change another program's object with a name of the hub, and takes it over when it is marked", async () => {
    const world = await HubWorld.create();
    const theirs = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'proxy-entrypoint', namespace: hub },
      spec: { type: 'NodePort' },
    };
    world.api.put(theirs);
    await world.start();
    await world.until(() => conditionOf(world, 'HubApplied') !== undefined);
    await world.settle();
    const { message } = conditionOf(world, 'HubApplied')!;
    expect(message).toContain(`Service ${hub}/proxy-entrypoint is in the way`);
    expect(fields(world.find('Service', 'proxy-entrypoint', hub)?.['spec'])).toEqual({
      type: 'NodePort',
    });
    expect(world.find('Deployment', 'cluster-proxy', hub)).toBeDefined();
    expect(world.work('cluster1')).toBeDefined();
    const labels = { 'proxy.open-cluster-management.io/part': 'hub' };
    await world.api
      .as('person')
      .patch(world.ref('Service', 'proxy-entrypoint', hub), { metadata: { labels } }, live);
    await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'True', {
      withinMs: 10_000,
    });
  });

  it('The hub reports which CA cannot be read, applies the rest, and continues after the repair', async () => {
    const world = await HubWorld.create();
    const good = world.find('Secret', 'cluster-proxy-signer', hub)!;
    world.api.put({ ...good, data: { 'ca.crt': 'bm9uc2Vuc2U=', 'ca.key': 'bm9uc2Vuc2U=' } });
    await world.start();
    await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'False');
    await world.settle(70_000);
    expect(conditionOf(world, 'HubApplied')?.['message']).toContain(
      `the CA in Secret ${hub}/cluster-proxy-signer cannot be used`,
    );
    expect(conditionOf(world, 'ProxyServerSecretSigned')).toMatchObject({ status: 'False' });
    expect(world.find('Deployment', 'cluster-proxy', hub)).toBeDefined();
    expect(world.find('Secret', 'agent-ca', hub)).toBeDefined();
    expect(world.condition(world.addOn('cluster1'), 'ManifestApplied')).toMatchObject({
      status: 'False',
      message: expect.stringContaining('cannot be made, see its conditions'),
    });
    world.api.put(good);
    await world.until(() => world.work('cluster1') !== undefined, { withinMs: 5_000 });
    await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'True');
  });

  it.each([
    ['apply', 'Service', 'patch', 'grant that to the account', ''],
    [
      'list',
      'Deployment',
      'list',
      '',
      "the hub's side of ManagedProxyConfiguration cluster-proxy cannot be read: ",
    ],
  ] as const)(
    'The hub reports which right to %s is missing, and continues when the right is granted',
    async (verb, kind, word, next, missed) => {
      const world = await HubWorld.create();
      const sentence = `User "manager" cannot ${word} resource "${kind.toLowerCase()}s"`;
      let isForbidden = true;
      world.intercept = (call) =>
        isForbidden && call.verb === verb && call.kind === kind
          ? new KubeError('forbidden', sentence, { status: 403 })
          : undefined;
      await world.start();
      await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'False');
      expect(conditionOf(world, 'HubApplied')?.['message']).toContain(sentence);
      expect(conditionOf(world, 'HubApplied')?.['message']).toContain(next);
      const ofCluster = () =>
        text(world.condition(world.addOn('cluster1'), 'ManifestApplied')?.['message']);
      await world.until(() => ofCluster().includes(missed));
      isForbidden = false;
      await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'True', {
        withinMs: 130_000,
      });
      await world.until(() => world.work('cluster1') !== undefined);
    },
  );

  it('The hub reports an object whose fields it cannot take over, and applies the rest', async () => {
    const { world } = await installed();
    world.intercept = ({ kind, verb }) =>
      kind === 'Service' && verb === 'patch' ? new KubeError('invalid', 'not now') : undefined;
    const { metadata, ...service } = world.find('Service', 'proxy-entrypoint', hub)!;
    const fieldsV1 = { 'f:spec': { 'f:ports': { 'k:{"port":1,"protocol":"TCP"}': {} } } };
    const managedFields = [{ manager: 'kubectl-edit', operation: 'Update', fieldsV1 }];
    world.api.put({ ...service, metadata: { ...metadata, managedFields } as typeof metadata });
    await world.api.delete(world.ref('Deployment', 'cluster-proxy', hub), live);
    await world.until(() => conditionOf(world, 'HubApplied')?.['status'] === 'False');
    expect(conditionOf(world, 'HubApplied')?.['message']).toBe(
      `Service ${hub}/proxy-entrypoint: not now`,
    );
    expect(world.find('Deployment', 'cluster-proxy', hub)).toBeDefined();
  });

  it.each(['cluster-proxy-signer', 'cluster-proxy-agent-signer', 'proxy-server-ca', 'agent-ca'])(
    'The hub tells no cluster of CAs while the Secret %s cannot be stored',
    async (name) => {
      const world = await HubWorld.create();
      let isForbidden = true;
      world.intercept = (call) =>
        isForbidden && call.verb === 'apply' && call.kind === 'Secret' && call.name === name
          ? new KubeError('forbidden', 'a webhook is against it', { status: 403 })
          : undefined;
      const registrations = () => fields(world.addOn('cluster1')?.['status'])['registrations'];
      const seen = new Set<unknown>();
      const tries = () =>
        world.api.calls.filter(({ name: of, verb }) => of === name && verb === 'apply');
      await world.start();
      await world.until(() => {
        seen.add(registrations());
        return tries().length >= 3;
      });
      expect([...seen]).toEqual([undefined]);
      expect(world.work('cluster1')).toBeUndefined();
      const conditions = ['ProxyServer', 'AgentServer', 'ProxyClient'].map(
        (what) => conditionOf(world, `${what}SecretSigned`)?.['status'],
      );
      expect(conditions).not.toContain('True');
      isForbidden = false;
      await world.until(() => registrations() !== undefined, { withinMs: 130_000 });
      await world.until(() => conditionOf(world, 'ProxyServerSecretSigned')?.['status'] === 'True');
    },
  );

  it('The hub keeps its Deployment while the TLS profile cannot be parsed', async () => {
    const { world } = await installed();
    const before = world.find('Deployment', 'cluster-proxy', hub);
    world.api.put(tlsProfile({ minTLSVersion: 'VersionTLS99' }));
    await world.until(() => conditionOf(world, 'Valid')?.['status'] === 'False');
    expect(conditionOf(world, 'Valid')?.['message']).toContain(
      `ConfigMap ${hub}/ocm-tls-profile data.minTLSVersion`,
    );
    expect(world.find('Deployment', 'cluster-proxy', hub)).toEqual(before);
    world.api.put(tlsProfile({ minTLSVersion: 'VersionTLS13' }));
    await world.until(() =>
      JSON.stringify(world.find('Deployment', 'cluster-proxy', hub)).includes(
        '--tls-min-version=VersionTLS13',
      ),
    );
  });

  it('The hub waits for the address of its load balancer, and then gives it to agents and certificates', async () => {
    const { world } = await installed({
      configuration: configuration({ entrypoint: { type: 'LoadBalancerService', port: 443 } }),
    });
    expect(conditionOf(world, 'EntrypointReady')).toMatchObject({
      status: 'False',
      reason: 'Pending',
    });
    expect(world.work('cluster1')).toBeUndefined();
    expect(world.condition(world.addOn('cluster1'), 'ManifestApplied')?.['message']).toContain(
      'has no address yet',
    );
    const service = world.find('Service', 'proxy-agent-entrypoint', hub)!;
    world.api.put({
      ...service,
      status: { loadBalancer: { ingress: [{ hostname: 'lb.example' }] } },
    });
    await world.until(() =>
      JSON.stringify(world.work('cluster1') ?? '').includes('wss://lb.example:443'),
    );
    const [leaf] = parseCertificates(textIn(world.find('Secret', 'agent-server', hub), 'tls.crt')!);
    expect(leaf!.alternativeNames.dns).toContain('lb.example');
    await world.until(() => conditionOf(world, 'EntrypointReady')?.['status'] === 'True');
  });

  it('The hub is made when a configuration exists and stays when it is deleted, and each addon reports a missing configuration', async () => {
    const world = new HubWorld();
    world.addCluster('cluster1');
    const addon = await world.start();
    await world.settle();
    expect(addon.unready).toBeUndefined();
    expect(world.api.calls.filter(isWrite)).toMatchObject([{ kind: 'ManagedClusterAddOn' }]);
    const manifestApplied = () => world.condition(world.addOn('cluster1'), 'ManifestApplied');
    const missing = {
      status: 'False',
      message: expect.stringMatching(
        /^ManagedProxyConfiguration cluster-proxy does not exist, .*create it/,
      ),
    };
    expect(manifestApplied()).toMatchObject(missing);
    world.api.put(configuration());
    await world.until(() => world.work('cluster1') !== undefined);
    await world.settle();
    expect(manifestApplied()).toBeUndefined();
    await world.api.delete(world.ref('ManagedProxyConfiguration', 'cluster-proxy'), live);
    await world.settle();
    expect(world.work('cluster1')).toBeDefined();
    expect(manifestApplied()).toMatchObject(missing);
  });

  it('Each addon reports a configuration that is wrong from the start, until it is corrected', async () => {
    const world = await HubWorld.create({ configuration: configuration({ replicas: -1 }) });
    await world.start();
    const missed = () => world.condition(world.addOn('cluster1'), 'ManifestApplied');
    await world.until(() => missed() !== undefined);
    expect(missed()).toMatchObject({
      status: 'False',
      message: expect.stringMatching(
        /^ManagedProxyConfiguration cluster-proxy is not valid: spec\.proxyServer\.replicas is -1, .*; correct it$/,
      ),
    });
    world.api.put(configuration());
    await world.until(() => world.work('cluster1') !== undefined);
    await world.settle();
    expect(missed()).toBeUndefined();
  });

  it('The hub continues where it stopped when the API server comes back', async () => {
    const { world, addon } = await installed();
    world.api.goAway();
    await world.clock.advance(60_000);
    world.api.comeBack();
    await world.api.delete(world.ref('Service', 'proxy-entrypoint', hub), live);
    world.addCluster('cluster2');
    await world.until(() => world.work('cluster2') !== undefined, { withinMs: 120_000 });
    await world.settle();
    expect(world.find('Service', 'proxy-entrypoint', hub)).toBeDefined();
    expect(addon).toMatchObject({ isLeading: true, unready: undefined });
  });
});
