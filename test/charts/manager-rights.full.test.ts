import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseManagedClusterAddOn } from '../../src/addon/api/managed-cluster-addon.ts';
import { parseManagedProxyConfiguration } from '../../src/addon/configuration/managed-proxy-configuration.ts';
import { ownerOf } from '../../src/addon/configuration/owned-metadata.ts';
import { portForwardRoleName } from '../../src/addon/hub/hub-objects.ts';
import { planHub } from '../../src/addon/hub/plan-hub.ts';
import { hubAccess } from '../../src/addon/cluster/hub-access.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { chartDirectory, Helm, type Values } from '../../testkit/kube/helm.ts';

const programs = await findPrograms(apiServerPrograms);
const ns = 'hub-ns';
const chart = chartDirectory('cluster-proxy');

/** The chart gives the manager its rights, src/addon makes what needs them: here they meet. */
describeWith({ programs }, 'The manager, with the rights that the chart gives', ({ programs }) => {
  const helm = new Helm(programs.helm);
  let server: RunningApiServer;

  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    for (const name of [ns, 'cluster1']) await server.kubectl(['create', 'namespace', name]);
    await upgrade({});
    const cluster = { name: 'cluster1' };
    await server.apply([
      {
        apiVersion: 'cluster.open-cluster-management.io/v1',
        kind: 'ManagedCluster',
        metadata: cluster,
        spec: { hubAcceptsClient: true },
      },
      {
        apiVersion: 'addon.open-cluster-management.io/v1alpha1',
        kind: 'ManagedClusterAddOn',
        metadata: { name: 'cluster-proxy', namespace: 'cluster1' },
        spec: {},
      },
    ]);
  }, 60_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  // Without values helm would reuse the values of the earlier release.
  const upgradeArgs = [
    'upgrade',
    '--install',
    'cluster-proxy',
    chart,
    '--reset-values',
    `--namespace=${ns}`,
  ];
  const upgrade = (values: Values) =>
    helm.run(upgradeArgs, values, { kubeconfig: server.kubeconfigFile });
  const asManager = (args: readonly string[], input?: object) =>
    server.kubectl(
      [...args, `--as=system:serviceaccount:${ns}:cluster-proxy`],
      input === undefined ? {} : { input: JSON.stringify(input) },
    );
  const apply = (object: KubeObject, ...args: string[]) =>
    asManager(
      [
        'apply',
        '--server-side',
        '--force-conflicts',
        '--field-manager=culvert-addon',
        '-f',
        '-',
        ...args,
      ],
      object,
    );
  const configuration = async () =>
    parseManagedProxyConfiguration(
      await server.get<KubeObject>('managedproxyconfiguration', 'cluster-proxy'),
    );
  const settings = {
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: [],
    enableNetworkPolicies: true,
    apiServerPorts: [],
    enableServiceProxy: true,
    exposedServicesConfigmap: 'cluster-proxy-exposed-services',
    redis: { url: 'redis://r:6379', secretRef: undefined, caSecretRef: undefined, prefix: 'c:' },
  } as const;

  describe.each([
    ['PortForward', {}],
    ['Ingress', { proxyServer: { entrypointIngress: { host: 'hub.example' } } }],
    ['LoadBalancerService', { proxyServer: { entrypointLoadBalancer: true } }],
    ['Hostname', { proxyServer: { entrypointAddress: 'hub.example' } }],
  ])('The hub with entrypoint %s', (type, values) => {
    it('The manager can apply the objects of the hub, apply them again, and remove them', async () => {
      await upgrade(values);
      const observed = await configuration();
      expect(observed.spec.proxyServer.entrypoint.type).toBe(type);
      const plan = planHub({
        configuration: observed,
        settings,
        objects: [],
        tlsProfile: undefined,
        freshReplicaKey: 'x'.repeat(40),
      });
      expect(plan.problems).toEqual([]);
      expect(plan.apply.length).toBeGreaterThan(8);
      for (const object of plan.apply) await apply(object);
      // What exists is patched and not created: another permission.
      for (const object of plan.apply) await apply(object);
      for (const { kind, metadata } of plan.apply) {
        // What outlives the configuration is never deleted.
        if (metadata.ownerReferences === undefined) continue;
        await asManager(['delete', kind, metadata.name, '-n', ns, '--wait=false']);
      }
    }, 60_000);
  });

  it('The manager can give the agent of a cluster its rights, and apply its ManifestWork', async () => {
    await upgrade({});
    const observed = await configuration();
    const plan = planHub({
      configuration: observed,
      settings,
      objects: [],
      tlsProfile: undefined,
      freshReplicaKey: 'x'.repeat(40),
    });
    for (const object of plan.apply) await apply(object);
    const addon = parseManagedClusterAddOn(
      await server.get<KubeObject>('-n', 'cluster1', 'managedclusteraddon', 'cluster-proxy'),
    );
    const group = 'system:open-cluster-management:cluster:cluster1:addon:cluster-proxy';
    const subject = { kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: group } as const;
    const tunnel = { namespace: ns, name: portForwardRoleName, owner: ownerOf(observed) };
    const access = hubAccess(addon, subject, tunnel);
    expect(access).toHaveLength(3);
    // The server's own view of Roles lags a little, so a binding may come too early here and in the
    // manager.
    for (const object of access) await vi.waitFor(() => apply(object), { timeout: 10_000 });
    await apply({
      apiVersion: 'work.open-cluster-management.io/v1',
      kind: 'ManifestWork',
      metadata: { name: 'addon-cluster-proxy-deploy-0', namespace: 'cluster1' },
      spec: { workload: { manifests: [] } },
    });

    // And the agent has what it needs, no more.
    const agentMay = async (...question: string[]) => {
      const args = ['auth', 'can-i', ...question, '--as=agent', `--as-group=${group}`];
      // can-i ends with 1 for "no".
      return server.kubectl(args).then(
        () => true,
        () => false,
      );
    };
    const port = (name: string) => [
      `services/https:proxy-entrypoint:${name}`,
      '--subresource=proxy',
      '-n',
      ns,
    ];
    expect(await agentMay('get', ...port('agent-server'))).toBe(true);
    expect(await agentMay('get', ...port('proxy-server'))).toBe(false);
    expect(await agentMay('create', ...port('agent-server'))).toBe(false);
    expect(await agentMay('get', 'pods', '-n', ns)).toBe(false);
    expect(await agentMay('update', 'leases/cluster-proxy', '-n', 'cluster1')).toBe(true);
    expect(await agentMay('update', 'leases/cluster-proxy', '-n', 'cluster2')).toBe(false);
    expect(await agentMay('create', 'tokenreviews')).toBe(false);
  }, 60_000);

  it('The manager can write the status of the addon', async () => {
    const status = async (what: readonly string[], body: object) =>
      asManager([
        'patch',
        ...what,
        '--subresource=status',
        '--type=merge',
        '-p',
        JSON.stringify({ status: body }),
      ]);
    await status(['managedproxyconfiguration', 'cluster-proxy'], { lastObservedGeneration: 1 });
    await status(['managedclusteraddon', 'cluster-proxy', '-n', 'cluster1'], { namespace: 'x' });
    await status(['clustermanagementaddon', 'cluster-proxy'], { defaultconfigReferences: [] });
    await expect(
      asManager([
        'patch',
        'managedproxyconfiguration',
        'cluster-proxy',
        '--type=merge',
        '-p',
        '{"spec":{}}',
      ]),
    ).rejects.toThrow(/forbidden/);
  });

  it('The manager cannot grant a right that it does not have', async () => {
    const role = (resources: readonly string[]): KubeObject => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'cluster-proxy-addon-agent', namespace: 'cluster1' },
      rules: [{ apiGroups: [''], resources, verbs: ['get'] }],
    });
    await expect(apply(role(['secrets']))).rejects.toThrow(/attempting to grant RBAC permissions/);
  });
});
