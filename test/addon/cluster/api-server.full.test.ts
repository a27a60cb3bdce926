import { afterAll, beforeAll, expect, it } from 'vitest';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { portForwardRoleName, portForwardRoleObject } from '../../../src/addon/hub/hub-objects.ts';
import { parseManagedCluster } from '../../../src/addon/api/managed-cluster.ts';
import { parseManagedClusterAddOn } from '../../../src/addon/api/managed-cluster-addon.ts';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { apiGroups } from '../../../src/addon/api/names.ts';
import type { Registration } from '../../../src/addon/api/registration-config.ts';
import { specHash } from '../../../src/addon/api/spec-hash.ts';
import { addOnStatusPatch } from '../../../src/addon/cluster/addon-status.ts';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import { hubAccess } from '../../../src/addon/cluster/hub-access.ts';
import { hubSubject } from '../../../src/addon/cluster/registrations.ts';
import {
  type RunningApiServer,
  startApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { condition, nowMs, clusterManagementAddOn } from '../api/ocm-objects.ts';
import { agentInput, configuredInput, manifestsOf, rendered } from './agent-inputs.ts';

const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'the addon on a real API server', ({ programs }) => {
  let server: RunningApiServer;
  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    const namespaces = ['cluster1', 'cluster2', 'hub', 'agents', 'config'].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    }));
    const clusters = ['cluster1', 'cluster2'].map((name) => ({
      apiVersion: 'cluster.open-cluster-management.io/v1',
      kind: 'ManagedCluster',
      metadata: { name },
      spec: { hubAcceptsClient: true },
    }));
    const addOns = ['cluster1', 'cluster2'].map((namespace) => ({
      apiVersion: 'addon.open-cluster-management.io/v1alpha1',
      kind: 'ManagedClusterAddOn',
      metadata: { name: 'cluster-proxy', namespace },
      spec: {},
    }));
    await server.apply([...namespaces, ...clusters]);
    await server.apply(addOns);
  }, 60_000);
  afterAll(() => server?.[Symbol.asyncDispose]());

  const observed = async (cluster: string) => {
    const args = ['managedclusteraddon', 'cluster-proxy', '-n', cluster];
    const addon = await server.get<KubeObject>(...args);
    const managed = await server.get<KubeObject>('managedcluster', cluster);
    return { addon: parseManagedClusterAddOn(addon), cluster: parseManagedCluster(managed) };
  };
  const owner = {
    apiVersion: `${apiGroups.proxy}/v1alpha1`,
    kind: 'ManagedProxyConfiguration',
    name: 'cluster-proxy',
    uid: '00000000-0000-4000-8000-000000000000',
  };
  const accessOf = async (
    name: string,
    tunnel = { namespace: 'hub', name: portForwardRoleName, owner },
  ) => {
    const { addon } = await observed(name);
    const known = hubSubject(addon);
    if (known.kind !== 'known') throw new Error(known.message);
    return hubAccess(addon, known.subject, tunnel);
  };

  it('A real API server accepts every object of the agent, with the fewest and with the most settings', async () => {
    const elaborate = configuredInput(
      {
        agentInstallNamespace: 'agents',
        customizedVariables: [
          { name: 'replicas', value: '3' },
          { name: 'serviceEntryPoint', value: 'fd00::1' },
          { name: 'serviceDomain', value: 'svc.corp' },
        ],
        nodePlacement: { nodeSelector: { a: 'b' }, tolerations: [{ operator: 'Exists' }] },
        proxyConfig: { httpsProxy: 'http://user:p$$(X)@proxy:3128', noProxy: '.svc' },
        resourceRequirements: [
          {
            containerID: '*:*:*',
            resources: { limits: { memory: '1Gi' }, requests: { cpu: '1' } },
          },
        ],
      },
      {
        enableNetworkPolicies: true,
        proxy: {
          ...agentInput().proxy,
          imagePullSecrets: ['pull'],
          allow: ['db:5432'],
          flags: [{ name: 'drain-timeout', value: '500ms' }],
        },
      },
    );
    const plain = agentInput({ agentInstallNamespace: 'agents' });
    for (const input of [plain, elaborate]) {
      const { works } = rendered(input);
      const dryRun = ['--dry-run=server', '--validate=strict'];
      const manifests = manifestsOf(works);
      expect(lines(await server.apply(manifests, dryRun))).toHaveLength(manifests.length);
      expect(lines(await server.apply(works, dryRun))).toHaveLength(works.length);
    }
  }, 30_000);

  it.each(['v1alpha1', 'v1beta1'])(
    'A real API server accepts the ClusterManagementAddOn in %s',
    async (version) => {
      await serveClusterManagementAddOns();
      const cma = clusterManagementAddOn(version, { namespace: 'hub', name: 'p' });
      const args = ['--dry-run=server', '--validate=strict'];
      const taken = () => server.apply(cma, args).catch(String);
      await expect.poll(taken, { timeout: 20_000 }).toContain('serverside-applied');
    },
  );

  /** Serves all versions. They are not served before, because no webhook converts objects here. */
  async function serveClusterManagementAddOns(): Promise<void> {
    const crd = ['crd', `clustermanagementaddons.${apiGroups.addon}`];
    const { spec } = await server.get<{ spec: { versions: readonly object[] } }>(...crd);
    const patch = spec.versions.map((_, at) => ({
      op: 'replace',
      path: `/spec/versions/${at}/served`,
      value: true,
    }));
    await server.kubectl(['patch', ...crd, '--type=json', `--patch=${JSON.stringify(patch)}`]);
  }

  it('A real API server lets each agent use its own lease and entrypoint, and nothing of another cluster', async () => {
    const configuration = parseManagedProxyConfiguration({
      metadata: { name: 'cluster-proxy', uid: '0c3f0000-0000-4000-8000-00000000c0f1' },
      spec: { proxyServer: { namespace: 'hub', image: 'x' }, proxyAgent: { image: 'x' } },
    });
    const role = portForwardRoleObject(configuration);
    await server.apply([role, ...(await accessOf('cluster1')), ...(await accessOf('cluster2'))]);

    const [{ user, groups }] = agentRegistrations('cluster1', 'signer-1') as [Registration];
    const can = async (verb: string, resource: string, namespace: string) => {
      const [kind = '', name] = resource.split(' ');
      const [group = '', plural = kind] = kind.includes('.') ? splitGroup(kind) : [];
      const [main = '', subresource] = plural.split('/');
      const review = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: {
          user,
          groups,
          resourceAttributes: { verb, group, resource: main, subresource, namespace, name },
        },
      };
      const answer = await server.kubectl(['create', '-f', '-', '-o', 'json'], {
        input: JSON.stringify(review),
      });
      return (JSON.parse(answer) as { status: { allowed: boolean } }).status.allowed;
    };
    const lease = 'leases.coordination.k8s.io cluster-proxy';
    const port = 'services/proxy https:proxy-entrypoint:agent-server';
    const rights: [string, string, string, boolean][] = [
      ['update', lease, 'cluster1', true],
      ['create', 'leases.coordination.k8s.io', 'cluster1', true],
      ['get', port, 'hub', true],
      ['update', lease, 'cluster2', false],
      ['update', 'leases.coordination.k8s.io other', 'cluster1', false],
      ['list', 'leases.coordination.k8s.io', 'cluster1', false],
      ['create', port, 'hub', false],
      ['get', 'services/proxy https:proxy-entrypoint:proxy-server', 'hub', false],
      ['get', port, 'cluster1', false],
      ['get', 'secrets agent-ca', 'hub', false],
      ['get', 'pods/portforward', 'hub', false],
    ];
    for (const [verb, resource, namespace, allowed] of rights) {
      const says = { verb, resource, namespace, allowed: await can(verb, resource, namespace) };
      expect(says).toEqual({ verb, resource, namespace, allowed });
    }
  }, 60_000);

  it('A real API server stores a status that needs no second write', async () => {
    const cluster = 'cluster1';
    const referent = { group: apiGroups.addon, resource: 'addondeploymentconfigs' };
    const config = await stored({
      apiVersion: `${apiGroups.addon}/v1alpha1`,
      kind: 'AddOnDeploymentConfig',
      metadata: { name: 'deploy', namespace: 'config' },
      spec: { nodePlacement: { nodeSelector: { '9': 'a', '10': 'b' } } },
    });
    const writeStatus = (status: unknown) =>
      server.kubectl([
        ...['patch', 'managedclusteraddon', 'cluster-proxy', '-n', cluster],
        ...['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })],
      ]);
    // The conditions of OCM's addon manager and klusterlet.
    await writeStatus({
      kubeClientDriver: 'csr',
      conditions: [condition('Available', 'True'), condition('Configured', 'True')],
      configReferences: [
        {
          ...referent,
          name: 'deploy',
          namespace: 'config',
          lastObservedGeneration: 0,
          desiredConfig: { name: 'deploy', namespace: 'config', specHash: '' },
        },
      ],
    });
    const next = async () =>
      addOnStatusPatch({
        addon: {
          ...(await observed(cluster)).addon,
          configs: [{ ...referent, name: 'deploy', namespace: 'config' }],
        },
        registrations: agentRegistrations(cluster, 'signer-1'),
        installNamespace: 'agents',
        findConfig: () => ({
          generation: config.metadata.generation ?? 0,
          specHash: specHash(config),
        }),
        access: { kind: 'applied' },
        manifests: { kind: 'failed', message: 'why' },
        nowMs,
      });
    const patch = await next();
    await writeStatus(patch?.status);
    const { addon } = await observed(cluster);
    expect(addon.conditions.map(({ type }) => type)).toEqual([
      'Available',
      'Configured',
      'RegistrationApplied',
      'ManifestApplied',
    ]);
    expect(addon.registrations).toEqual(agentRegistrations(cluster, 'signer-1'));
    expect(addon.configReferences[0]?.desired?.specHash).toBe(specHash(config));
    expect(await next()).toBeUndefined();
  }, 30_000);

  async function stored(object: KubeObject): Promise<KubeObject> {
    await server.apply(object);
    const { name, namespace = '' } = object.metadata;
    return server.get<KubeObject>(object.kind, name, '-n', namespace);
  }
});

function splitGroup(kind: string): [string, string] {
  const dot = kind.indexOf('.');
  return [kind.slice(dot + 1), kind.slice(0, dot)];
}

function lines(text: string): readonly string[] {
  return text.trim().split('\n');
}
