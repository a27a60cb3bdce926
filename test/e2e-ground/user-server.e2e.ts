import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { Installation } from './support/installation.ts';
import { brokerPods, hubNamespace, testNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';
import { type Access, UserServerClient } from './support/user-server.ts';

const timeoutMs = 90_000;
const culvertProgram = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const users = ['alice', 'bob'] as const;
/** The name of a ServiceAccount of the hub in managed clusters. */
const nameOf = (user: string) => `cluster:hub:system:serviceaccount:default:${user}`;
const providerName = 'open-cluster-management';

/** The values of an administrator who wants HTTP clients. No other value is needed. */
const values = {
  enableServiceProxy: true,
  userServer: { enabled: true },
  featureGates: { clusterProfile: true },
  exposedServices: [{ namespace: testNamespace, service: 'target', port: 'http' }],
};

/** A Service of the target, and the rights of alice, which bob does not have. */
const managedObjects = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'target', namespace: testNamespace },
    spec: { selector: { app: 'target' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'e2e-alice' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' },
    subjects: [
      { kind: 'User', name: nameOf('alice'), apiGroup: 'rbac.authorization.k8s.io' },
      { kind: 'ServiceAccount', name: 'default', namespace: testNamespace },
    ],
  },
];

interface AccessProvider {
  readonly name: string;
  readonly cluster: Access['cluster'];
}

describe('HTTP clients of an installation of the chart', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: UserServerClient;
  const tokens = new Map<string, string>();

  const as = (user: (typeof users)[number], cluster: GroundCluster) =>
    client.withToken(cluster.name, tokens.get(user)!);
  const tokenOf = async (cluster: GroundCluster, namespace: string, name: string) =>
    (await cluster.kubectl(['-n', namespace, 'create', 'token', name])).trim();
  const providers = async (cluster: string) => {
    const { status } = await hub.get<{
      status?: { accessProviders?: readonly AccessProvider[] };
    }>('clusterprofile', cluster);
    return status?.accessProviders ?? [];
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    for (const name of users) {
      await hub.apply({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name, namespace: 'default' },
      });
      tokens.set(name, await tokenOf(hub, 'default', name));
    }
    for (const cluster of ground.managed) {
      await cluster.apply(managedObjects);
      const label = ['label', 'pod', 'target', 'app=target', '--overwrite'];
      await cluster.kubectl(['-n', testNamespace, ...label]);
      await hub.apply({
        apiVersion: 'multicluster.x-k8s.io/v1alpha1',
        kind: 'ClusterProfile',
        metadata: {
          name: cluster.name,
          namespace: 'default',
          labels: {
            'x-k8s.io/cluster-manager': 'open-cluster-management',
            'open-cluster-management.io/cluster-name': cluster.name,
          },
        },
        spec: { clusterManager: { name: 'open-cluster-management' } },
      });
    }
    installation = new Installation(ground);
    await installation.apply({}, values);
    await installation.settle();
    for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
    client = await UserServerClient.open(ground);
  }, 300_000);
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    const gone = ['delete', '--ignore-not-found'];
    await hub.kubectl([...gone, '-n', 'default', 'clusterprofiles', '--all']);
    await hub.kubectl([...gone, '-n', 'default', 'serviceaccount', ...users]);
    for (const cluster of ground.managed) {
      await cluster.kubectl([...gone, 'clusterrolebinding', 'e2e-alice']);
      await cluster.kubectl([...gone, '-n', testNamespace, 'service', 'target']);
    }
  });

  it('A user of the hub reaches every cluster with kubectl, as a user of the hub', async () => {
    for (const cluster of ground.managed) {
      const alice = as('alice', cluster);
      const listed = async () =>
        JSON.parse(await client.kubectl(alice, ['get', '--raw', '/api/v1/namespaces'])) as object;
      const list = await eventually(ground, listed, {
        what: `answer of ${cluster.name}`,
        timeoutMs,
      });
      expect(list).toMatchObject({
        kind: 'NamespaceList',
        items: expect.arrayContaining([
          expect.objectContaining({ metadata: expect.objectContaining({ name: testNamespace }) }),
        ]),
      });
      const review = JSON.parse(await client.kubectl(alice, ['auth', 'whoami', '-o', 'json'])) as {
        status: { userInfo: { username: string; groups: string[] } };
      };
      expect(review.status.userInfo.username).toBe(nameOf('alice'));
      expect(review.status.userInfo.groups).toContain('system:serviceaccounts:default');
    }
  });

  it('A user of the hub runs a command in a pod, with input and output', async () => {
    for (const cluster of ground.managed) {
      const echo = ['--', '/usr/local/bin/node', '-e', 'process.stdin.pipe(process.stdout)'];
      const args = ['-n', testNamespace, 'exec', '--stdin', 'target', ...echo];
      expect(await client.kubectl(as('alice', cluster), args, 'there and back')).toBe(
        'there and back',
      );
    }
  });

  it('A user of the hub without rights in a cluster gets the 403 of its kube-apiserver', async () => {
    for (const cluster of ground.managed) {
      const get = client.kubectl(as('bob', cluster), ['get', 'namespaces']);
      await expect(get).rejects.toThrow(
        `(Forbidden): namespaces is forbidden: User "${nameOf('bob')}" cannot list resource`,
      );
    }
  });

  it('A token of a managed cluster is accepted for this cluster alone, and an unknown token is refused', async () => {
    const [first, second] = ground.managed as [GroundCluster, GroundCluster];
    const token = await tokenOf(first, testNamespace, 'default');
    const get = ['get', 'pods', '-n', testNamespace, '-o', 'name'];
    expect(await client.kubectl(client.withToken(first.name, token), get)).toBe('pod/target\n');
    for (const access of [
      client.withToken(second.name, token),
      client.withToken(first.name, 'unknown'),
    ]) {
      await expect(client.kubectl(access, get)).rejects.toThrow('You must be logged in');
    }
  });

  it('An exposed Service answers at its path, by the name of its port, and no other port does', async () => {
    for (const cluster of ground.managed) {
      const alice = as('alice', cluster);
      const path = (port: string) =>
        `/api/v1/namespaces/${testNamespace}/services/http:target:${port}/proxy-service/`;
      expect(await client.kubectl(alice, ['get', '--raw', path('http')])).toBe('hello');
      const other = client.kubectl(alice, ['get', '--raw', path('8080')]);
      await expect(other).rejects.toThrow('not in the exposed services allowlist');
    }
  });

  it('A program that reads a ClusterProfile reaches its cluster with the exec plugin', async () => {
    const plugin = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: [
        ...[culvertProgram, 'credential', '--service-account=default/alice'],
        `--hub-kubeconfig=${hub.kubeconfigFile}`,
      ],
      interactiveMode: 'Never',
      provideClusterInfo: true,
    };
    for (const { name } of ground.managed) {
      const find = async () => (await providers(name)).find((each) => each.name === providerName);
      const found = await eventually(ground, find, { what: `access to ${name}`, timeoutMs });
      const access = { cluster: found.cluster, user: { exec: plugin } };
      const args = ['get', 'pods', '-n', testNamespace, '-o', 'jsonpath={.items[*].spec.nodeName}'];
      expect(await client.kubectl(access, args)).toBe(name);
    }
  });

  it('The brokers serve HTTP clients with the account, certificate and rights of the addon alone', async () => {
    const { items } = await hub.get<{ items: readonly BrokerPod[] }>(
      ...['-n', hubNamespace, 'pods', ...brokerPods],
    );
    expect(items.length).toBeGreaterThan(0);
    for (const { spec } of items) {
      expect(spec.serviceAccountName).toBe('cluster-proxy-proxy-server');
      expect(spec.containers[0]!.args).toContain('--gateway-listen=[::]:9092');
    }
    const account = `system:serviceaccount:${hubNamespace}:cluster-proxy-proxy-server`;
    const can = async (...args: string[]) =>
      (await hub.kubectl(['auth', 'can-i', ...args, `--as=${account}`]).catch(String)).trim();
    const inHub = ['-n', hubNamespace];
    expect(await can('get', 'configmap/cluster-proxy-cluster-settings', ...inHub)).toBe('yes');
    expect(await can('get', 'secrets', ...inHub)).not.toBe('yes');
    expect(await can('get', 'configmap/another', ...inHub)).not.toBe('yes');
  });

  it('The access of ClusterProfiles ends with the release', async () => {
    await installation.remove();
    for (const { name } of ground.managed) {
      const isGone = async () =>
        (await providers(name)).every((provider) => provider.name !== providerName);
      const waited = { what: `end of the access to ${name}`, timeoutMs: 20_000 };
      expect(await eventually(ground, isGone, waited)).toBe(true);
    }
  });
});

interface BrokerPod {
  readonly spec: {
    readonly serviceAccountName: string;
    readonly containers: readonly { readonly args: readonly string[] }[];
  };
}
