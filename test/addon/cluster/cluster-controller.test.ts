import { describe, expect, it } from 'vitest';
import { specHash } from '../../../src/addon/api/spec-hash.ts';
import { clusterAlias } from '../../../src/base/names/cluster-alias.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { KubeError } from '../../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { addOn, hub, HubWorld, isWrite } from '../controllers/hub-world.ts';
import {
  condition,
  deploymentConfigReference,
  clusterManagementAddOn,
} from '../api/ocm-objects.ts';

const live = { signal: new AbortController().signal };
const clusters = ['cluster1', 'cluster2', 'cluster3'];

async function running(
  names: readonly string[] = clusters,
  options: Parameters<HubWorld['start']>[0] = {},
) {
  const world = await HubWorld.create({ clusters: names });
  const addon = await world.start(options);
  await world.until(() => names.every((name) => world.work(name) !== undefined));
  await world.settle();
  world.api.calls.length = 0;
  return { world, addon };
}

/** Reports the work as applied, as the work agent of the cluster does. */
async function applied(world: HubWorld, cluster: string): Promise<void> {
  const { generation } = world.work(cluster)!.metadata;
  const conditions = [{ ...condition('Applied', 'True'), observedGeneration: generation }];
  const ref = world.ref('ManifestWork', 'addon-cluster-proxy-deploy-0', cluster);
  const patch = { status: { conditions } };
  await world.api.as('klusterlet').patch(ref, patch, { ...live, subresource: 'status' });
  await world.settle();
}

const deploymentConfig = (spec: object): KubeObject => ({
  apiVersion: 'addon.open-cluster-management.io/v1alpha1',
  kind: 'AddOnDeploymentConfig',
  metadata: { name: 'deploy', namespace: 'config', generation: 2 },
  spec,
});
const access = (world: HubWorld, cluster: string) => [
  world.find('Role', 'cluster-proxy-addon-agent', cluster),
  world.find('RoleBinding', 'cluster-proxy-addon-agent', cluster),
  world.find('RoleBinding', `cluster-proxy-addon-agent:portforward:${cluster}`, hub),
];
const writesTo = (world: HubWorld) =>
  world.api.calls
    .filter(isWrite)
    .map(({ kind, namespace, name }) => `${kind} ${namespace ?? ''}/${name}`);

describe('a cluster', () => {
  it('A cluster gets its agent and the rights of that agent, and its addon reports both', async () => {
    const { world } = await running();
    expect(access(world, 'cluster2')).not.toContain(undefined);
    const addon = world.addOn('cluster2')!;
    expect(world.condition(addon, 'RegistrationApplied')).toMatchObject({ status: 'True' });
    const status = fields(addon['status']);
    expect(items(status['registrations']).map(({ signerName }) => signerName)).toEqual([
      'kubernetes.io/kube-apiserver-client',
      'open-cluster-management.io/proxy-agent-signer',
    ]);
    expect(status).toMatchObject({ namespace: hub, healthCheck: { mode: 'Lease' } });
  });

  it('A cluster gets no agent before OCM has configured its addon', async () => {
    const { world } = await running([]);
    world.addCluster('late');
    world.api.put(addOn('late', { conditions: [] }));
    await world.until(
      () => world.condition(world.addOn('late'), 'RegistrationApplied') !== undefined,
    );
    await world.settle();
    expect(world.work('late')).toBeUndefined();
    const conditions = [
      ...items(fields(world.addOn('late')?.['status'])['conditions']),
      condition('Configured', 'True'),
    ];
    const ref = world.ref('ManagedClusterAddOn', 'cluster-proxy', 'late');
    await world.api
      .as('ocm')
      .patch(ref, { status: { conditions } }, { ...live, subresource: 'status' });
    await world.until(() => world.work('late') !== undefined, { withinMs: 5_000 });
  });

  it('A change of one cluster causes no list requests and touches no other cluster', async () => {
    const { world } = await running();
    await world.api.delete(
      world.ref('ManifestWork', 'addon-cluster-proxy-deploy-0', 'cluster2'),
      live,
    );
    world.api.calls.length = 0;
    await world.until(() => world.work('cluster2') !== undefined, { withinMs: 5_000 });
    await world.settle();
    expect(writesTo(world)).toEqual(['ManifestWork cluster2/addon-cluster-proxy-deploy-0']);
    expect(world.api.calls.filter(({ verb }) => verb === 'list' || verb === 'watch')).toEqual([]);
  });

  it.each([
    [
      'ManifestWork',
      'addon-cluster-proxy-deploy-0',
      'cluster1',
      { spec: { workload: { manifests: [] } } },
    ],
    ['RoleBinding', 'cluster-proxy-addon-agent', 'cluster1', { subjects: [] }],
    ['Role', 'cluster-proxy-addon-agent', 'cluster1', { rules: [] }],
  ])(
    'A cluster gets its %s back after a person has edited it',
    async (kind, name, namespace, edit) => {
      const { world } = await running();
      const { metadata: _, ...before } = world.find(kind, name, namespace)!;
      await world.api.as('person').patch(world.ref(kind, name, namespace), edit, live);
      expect(world.find(kind, name, namespace)).not.toMatchObject(before);
      await world.until(() => writesTo(world).length > 0);
      await world.settle();
      expect(world.find(kind, name, namespace)).toMatchObject(before);
      expect(writesTo(world)).toEqual([`${kind} ${namespace}/${name}`]);
    },
  );

  it('An event without a change causes no write for the cluster', async () => {
    const { world } = await running();
    const work = world.work('cluster1')!;
    const other = { ...work.metadata.labels, team: 'a' };
    await world.api
      .as('person')
      .patch(
        world.ref('ManagedCluster', 'cluster1'),
        { status: { version: 'v2' } },
        { ...live, subresource: 'status' },
      );
    world.api.put({ ...work, metadata: { ...work.metadata, labels: other } });
    world.api.calls.length = 0;
    await world.settle();
    // The addon ignores labels. One apply checks whether an object differs, and changes nothing.
    expect(writesTo(world)).toEqual(['ManifestWork cluster1/addon-cluster-proxy-deploy-0']);
    expect(world.work('cluster1')?.metadata.labels).toEqual(other);
  });

  it('A cluster is not reconciled for changes that do not concern its agent', async () => {
    const world = await HubWorld.create({ clusters });
    const addon = await world.start({ metricsListen: { host: '127.0.0.1', port: 0 } });
    await world.until(() => world.work('cluster1') !== undefined);
    await world.settle();
    const looks = async () => {
      const text = await (await fetch(`http://${addon.metricsAddress}/metrics`)).text();
      return /reconciled_total\{controller="clusters"\} (\d+)/.exec(text)?.[1];
    };
    const before = await looks();
    const status = { version: { kubernetes: 'v1.99.0' } };
    world.api.put({ ...world.find('ManagedCluster', 'cluster1')!, status });
    // The change reconciles the hub, with the same result.
    await world.api.delete(world.ref('Service', 'proxy-entrypoint', hub), live);
    await world.settle();
    expect(world.find('Service', 'proxy-entrypoint', hub)).toBeDefined();
    expect(await looks()).toBe(before);
  });

  it('A cluster follows its own AddOnDeploymentConfig, and no other cluster follows it', async () => {
    const { world } = await running();
    world.api.put(deploymentConfig({ agentInstallNamespace: 'agents' }));
    const status = fields(world.addOn('cluster2')?.['status']);
    const configReferences = [deploymentConfigReference];
    world.api.put({ ...world.addOn('cluster2')!, status: { ...status, configReferences } });
    await world.until(() => JSON.stringify(world.work('cluster2')).includes('"agents"'), {
      withinMs: 5_000,
    });
    await world.settle();
    world.api.calls.length = 0;
    const changed = {
      ...deploymentConfig({ agentInstallNamespace: 'agents2' }),
      metadata: { name: 'deploy', namespace: 'config', generation: 3 },
    };
    world.api.put(changed);
    await world.until(() => JSON.stringify(world.work('cluster2')).includes('"agents2"'), {
      withinMs: 5_000,
    });
    await world.settle();
    expect(new Set(writesTo(world))).toEqual(
      new Set([
        'ManifestWork cluster2/addon-cluster-proxy-deploy-0',
        'ManagedClusterAddOn cluster2/cluster-proxy',
      ]),
    );
    const [reference] = items(fields(world.addOn('cluster2')?.['status'])['configReferences']);
    const stored = world.find('AddOnDeploymentConfig', 'deploy', 'config')!;
    expect(reference).toMatchObject({ lastObservedGeneration: stored.metadata.generation });
    expect(world.addOn('cluster2')?.['status']).toMatchObject({ namespace: 'agents2' });
  });

  it('A cluster reports that its configuration is missing, and keeps its agent until the configuration exists', async () => {
    const { world } = await running();
    const before = world.work('cluster1');
    const status = fields(world.addOn('cluster1')?.['status']);
    world.api.put({
      ...world.addOn('cluster1')!,
      status: { ...status, configReferences: [deploymentConfigReference] },
    });
    await world.until(
      () => world.condition(world.addOn('cluster1'), 'ManifestApplied') !== undefined,
    );
    expect(world.condition(world.addOn('cluster1'), 'ManifestApplied')?.['message']).toContain(
      'AddOnDeploymentConfig config/deploy, which does not exist',
    );
    expect(world.work('cluster1')).toBe(before);
    world.api.put(deploymentConfig({ agentInstallNamespace: 'agents' }));
    await world.until(() => JSON.stringify(world.work('cluster1')).includes('"agents"'), {
      withinMs: 5_000,
    });
  });

  it('A cluster that is no longer accepted loses its rights even without a configuration', async () => {
    const { world } = await running();
    await world.api.delete(world.ref('ManagedProxyConfiguration', 'cluster-proxy'), live);
    await world.settle();
    const patch = { spec: { hubAcceptsClient: false } };
    await world.api.as('person').patch(world.ref('ManagedCluster', 'cluster1'), patch, live);
    await world.until(() => access(world, 'cluster1').every((object) => object === undefined), {
      withinMs: 5_000,
    });
    expect(access(world, 'cluster2')).not.toContain(undefined);
    expect(world.work('cluster1')).toBeDefined();
  });

  it('A cluster whose name is the alias of another cluster gets no agent, and its addon reports why', async () => {
    const alias = await clusterAlias('cluster1');
    const world = await HubWorld.create({ clusters: ['cluster1'] });
    // The cluster got an agent before its name was checked.
    world.addCluster(alias);
    world.api.put(addOn(alias));
    world.api.put({
      apiVersion: 'work.open-cluster-management.io/v1',
      kind: 'ManifestWork',
      metadata: {
        name: 'addon-cluster-proxy-deploy-0',
        namespace: alias,
        labels: { 'open-cluster-management.io/addon-name': 'cluster-proxy' },
      },
    });
    await world.start();
    const applied = () => world.condition(world.addOn(alias), 'ManifestApplied');
    await world.until(() => applied() !== undefined && world.work('cluster1') !== undefined);
    await world.settle();
    expect(applied()).toMatchObject({
      status: 'False',
      message: expect.stringContaining(`ManagedCluster ${alias} gets no agent: it has the form`),
    });
    expect(world.work(alias)).toBeUndefined();
    expect(access(world, alias)).toEqual([undefined, undefined, undefined]);
  });

  it('A cluster that loses its addon loses its rights', async () => {
    const { world } = await running();
    await world.api.delete(world.ref('ManagedClusterAddOn', 'cluster-proxy', 'cluster3'), live);
    await world.until(() => access(world, 'cluster3').every((object) => object === undefined), {
      withinMs: 5_000,
    });
    expect(access(world, 'cluster2')).not.toContain(undefined);
  });

  it('A cluster reports a failure, while other clusters continue', async () => {
    const world = await HubWorld.create({ clusters });
    let isForbidden = true;
    world.intercept = ({ kind, namespace, verb }) =>
      isForbidden && kind === 'ManifestWork' && namespace === 'cluster2' && verb === 'apply'
        ? new KubeError(
            'forbidden',
            'User "manager" cannot patch resource "manifestworks" in the namespace "cluster2"',
          )
        : undefined;
    await world.start();
    await world.until(
      () => world.work('cluster3') !== undefined && world.work('cluster1') !== undefined,
    );
    await world.until(
      () => world.condition(world.addOn('cluster2'), 'ManifestApplied') !== undefined,
    );
    expect(world.condition(world.addOn('cluster2'), 'ManifestApplied')).toMatchObject({
      status: 'False',
      message: expect.stringContaining('cannot patch resource "manifestworks"'),
    });
    isForbidden = false;
    await world.until(() => world.work('cluster2') !== undefined, { withinMs: 130_000 });
    await world.settle();
    expect(world.condition(world.addOn('cluster2'), 'ManifestApplied')?.['status']).not.toBe(
      'False',
    );
  });

  it('A cluster that OCM will not configure reports why, until that is corrected', async () => {
    const world = await HubWorld.create({ clusters: ['cluster1'] });
    world.api.put(addOn('cluster1', { conditions: [] }));
    const placement = { namespace: hub, name: 'all' };
    const managed = clusterManagementAddOn('v1alpha1', placement);
    const annotations = { 'addon.open-cluster-management.io/lifecycle': 'self' };
    world.api.put({ ...managed, metadata: { ...managed.metadata, annotations } });
    await world.start();
    const manifestApplied = () => world.condition(world.addOn('cluster1'), 'ManifestApplied');
    await world.until(() => manifestApplied() !== undefined);
    expect(manifestApplied()).toMatchObject({
      status: 'False',
      message: expect.stringMatching(/lifecycle: self, .*set it to addon-manager$/),
    });
    world.api.put(managed);
    const { conditions } = world.addOn('cluster1')!['status'] as { conditions: object[] };
    const configured = [...conditions, condition('Configured', 'True')];
    world.api.put(addOn('cluster1', { conditions: configured }));
    await world.until(() => world.work('cluster1') !== undefined);
    await world.settle();
    expect(manifestApplied()).toBeUndefined();
  });

  it('A cluster reports that OCM does not follow the configuration after its agent is applied', async () => {
    const { world } = await running(['cluster1']);
    const managed = clusterManagementAddOn('v1alpha1', { namespace: hub, name: 'all' });
    world.api.put({ ...managed, spec: {} });
    await applied(world, 'cluster1');
    expect(world.condition(world.addOn('cluster1'), 'ManifestApplied')).toMatchObject({
      status: 'True',
      message: expect.stringContaining('does not name ManagedProxyConfiguration cluster-proxy'),
    });
    world.api.put(managed);
    await world.settle();
    expect(world.condition(world.addOn('cluster1'), 'ManifestApplied')?.['message']).toBe(
      'manifests of addon are applied successfully',
    );
  });

  it.each([true, false])(
    "The names of a cluster lead to its kube-apiserver if the manager's option allows it: %s",
    async (leads) => {
      const { world } = await running(['cluster1'], { enableKubeApiProxy: leads });
      const text = JSON.stringify(world.work('cluster1'));
      expect(text.includes('--enable-kube-api-proxy=false')).toBe(!leads);
    },
  );

  it('A cluster keeps the right to use the kube-apiserver until it has applied the work with the new entrypoint', async () => {
    const { world } = await running(['cluster1']);
    const mayComeThrough = () => access(world, 'cluster1')[2] !== undefined;
    const wayOf = (work: KubeObject | undefined) =>
      /--broker-via-hub|--broker-url/.exec(JSON.stringify(work?.['spec']))?.[0];
    const apply = () => applied(world, 'cluster1');
    await apply();
    expect(mayComeThrough()).toBe(true);
    const entrypoint = { type: 'Hostname', hostname: { value: 'broker.example' } };
    const patch = { spec: { proxyServer: { entrypoint } } };
    const ref = world.ref('ManagedProxyConfiguration', 'cluster-proxy');
    await world.api.as('person').patch(ref, patch, live);
    await world.until(() => wayOf(world.work('cluster1')) === '--broker-url');
    await world.settle();
    expect(mayComeThrough()).toBe(true);
    await apply();
    await world.until(() => !mayComeThrough());
    expect(access(world, 'cluster1').slice(0, 2)).not.toContain(undefined);
  });

  it('A configuration change that does not change the work of a cluster causes no write', async () => {
    const { world } = await running();
    const before = clusters.map((name) => world.work(name));
    // The change concerns only brokers.
    const service = world.find('Service', 'proxy-entrypoint', hub)!;
    await world.api.delete(world.ref('Service', service.metadata.name, hub), live);
    await world.api.delete(world.ref('Secret', 'proxy-client', hub), live);
    await world.settle();
    expect(clusters.map((name) => world.work(name))).toEqual(before);
    expect(writesTo(world).filter((line) => /ManifestWork|ManagedClusterAddOn/.test(line))).toEqual(
      [],
    );
  });
});

describe('the ClusterManagementAddOn', () => {
  it('The ClusterManagementAddOn gets the hashes of the configurations that OCM selected', async () => {
    const { world } = await running();
    const desiredConfig = { name: 'cluster-proxy' };
    const defaultConfigReferences = [
      {
        group: 'proxy.open-cluster-management.io',
        resource: 'managedproxyconfigurations',
        desiredConfig,
      },
    ];
    world.api.put({
      apiVersion: 'addon.open-cluster-management.io/v1alpha1',
      kind: 'ClusterManagementAddOn',
      metadata: { name: 'cluster-proxy' },
      spec: {},
      status: { defaultConfigReferences },
    });
    const references = () =>
      items(
        fields(world.find('ClusterManagementAddOn', 'cluster-proxy')?.['status'])[
          'defaultConfigReferences'
        ],
      );
    const expected = () => ({
      desiredConfig: { ...desiredConfig, specHash: specHash(world.configuration!) },
    });
    await world.until(() => 'specHash' in fields(references()[0]?.['desiredConfig']), {
      withinMs: 5_000,
    });
    expect(references()).toMatchObject([expected()]);
    const patch = { spec: { proxyAgent: { replicas: 4 } } };
    await world.api
      .as('person')
      .patch(world.ref('ManagedProxyConfiguration', 'cluster-proxy'), patch, live);
    await world.settle();
    expect(references()).toMatchObject([expected()]);
  });
});
