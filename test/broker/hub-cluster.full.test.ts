import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Secret } from '../../src/base/secret.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import type { RunningBroker } from '../../src/broker/node/running-broker.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { connectWebSocket } from '../../src/websocket/connect.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { AgentAuthority } from '../../testkit/world/agent-authority.ts';
import { notLoopback, startConnectProxy } from '../../testkit/network/connect-proxy.ts';

const reviewers = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'broker' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'broker' },
  subjects: [{ kind: 'User', name: 'broker', apiGroup: 'rbac.authorization.k8s.io' }],
};
/** What a broker needs on the hub, and nothing else. */
const role = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'broker' },
  rules: [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    {
      apiGroups: ['cluster.open-cluster-management.io'],
      resources: ['managedclusters'],
      verbs: ['get', 'list', 'watch'],
    },
  ],
};
const managedCluster = (name: string, hubAcceptsClient = true) => ({
  apiVersion: 'cluster.open-cluster-management.io/v1',
  kind: 'ManagedCluster',
  metadata: { name },
  spec: { hubAcceptsClient },
});
const account = (namespace: string, name: string) => [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } },
];

interface KubeconfigClusters {
  readonly clusters: readonly { readonly cluster: object }[];
}

const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'a broker that asks the API server of the hub', ({ programs }) => {
  let directory: string;
  let server: RunningApiServer;
  let broker: RunningBroker;
  let agents: AgentAuthority;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-hub-cluster-'));
    agents = await AgentAuthority.create();
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    await server.apply([
      role,
      reviewers,
      ...['c1', 'c2', 'c3', 'c4'].flatMap((name) => account(name, 'cluster-proxy-agent')),
      ...account('c1', 'somebody'),
      ...['c1', 'c2', 'c3'].map((name) => managedCluster(name)),
    ]);
    const agentCa = join(directory, 'agent-ca.crt');
    await writeFile(agentCa, agents.pem);
    const kubeconfig = await server.kubeconfigFor({ user: 'broker' });
    const flags = ['--listen', '127.0.0.1:0', '--agent-ca', agentCa, '--kubeconfig', kubeconfig];
    broker = await startBroker(readBrokerOptions(flags, {}).options, { log: silentLogger });
  }, 120_000);
  afterAll(async () => {
    await broker?.close();
    await server?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Comes as an agent with this token; `in`, or how it was refused. */
  async function knock(cluster: string, token: string, at = broker.url): Promise<string> {
    const given = new Secret(token);
    try {
      const link = await connectWebSocket({
        url: new URL(`${at}/v1/agent`),
        headers: {
          'Culvert-Cluster': cluster,
          'Culvert-Agent': 'a',
          'Culvert-Authorization': `Bearer ${given.reveal()}`,
        },
      });
      link.close();
      return 'in';
    } catch (thrown) {
      if (thrown instanceof ConnectError) return `${thrown.status}: ${thrown.message}`;
      throw thrown;
    }
  }

  it('lets in an agent with a token of its ServiceAccount, for the broker or for the API server', async () => {
    const audience = 'culvert-broker';
    const forBroker = await server.token('c1', 'cluster-proxy-agent', { audience });
    expect(await knock('c1', forBroker)).toBe('in');
    const forServer = await server.token('c1', 'cluster-proxy-agent');
    expect(await knock('c1', forServer)).toBe('in');
  });

  it('lets nobody in with another token', async () => {
    const own = await server.token('c1', 'cluster-proxy-agent');
    expect(await knock('c2', own)).toMatch(/^403: .*speaks for cluster c1 only, not for c2/);
    const audience = 'somebody-else';
    const foreign = await server.token('c1', 'cluster-proxy-agent', { audience });
    expect(await knock('c1', foreign)).toMatch(/^401: .*does not know the token/);
    expect(await knock('c1', await server.token('c1', 'somebody'))).toMatch(/^401: /);
    const forged = `${own.slice(0, -4)}AAAA`;
    expect(await knock('c1', forged)).toMatch(/^401: .*does not know the token/);
  });

  it('lets nobody in whose cluster has no ManagedCluster', async () => {
    const token = await server.token('c4', 'cluster-proxy-agent');
    await expect.poll(() => knock('c4', token)).toMatch(/^403: .*does not accept cluster c4/);
  });

  it('throws an agent out within a minute when the hub does not accept its cluster any more', async () => {
    const certificateDir = await agents.directory(join(directory, 'c2'), { cluster: 'c2' });
    const flags = ['--cluster', 'c2', '--broker-url', broker.url, '--tunnels', '1'];
    const { options } = readAgentOptions([...flags, '--certificate-dir', certificateDir], {});
    await using agent = await startAgent(options, { log: silentLogger });
    await agent.connected;
    expect(agent.tunnelCount).toBe(1);
    await server.apply(managedCluster('c2', false));
    await expect.poll(() => agent.tunnelCount, { timeout: 15_000 }).toBe(0);
    const token = await server.token('c2', 'cluster-proxy-agent');
    expect(await knock('c2', token)).toMatch(/^403: .*hubAcceptsClient=false/);
  });

  it('asks it, and watches it, through the proxy that the environment names', async () => {
    await using proxy = await startConnectProxy();
    const kubeconfig = await server.kubeconfigFor({ user: 'broker' });
    const config = JSON.parse(await readFile(kubeconfig, 'utf8')) as KubeconfigClusters;
    const away = new URL(server.url);
    away.hostname = notLoopback;
    const named = { server: away.href, 'tls-server-name': 'localhost' };
    Object.assign(config.clusters[0]!.cluster, named);
    const path = join(directory, 'away.kubeconfig');
    await writeFile(path, JSON.stringify(config));
    const flags = ['--listen', '127.0.0.1:0', '--kubeconfig', path];
    const { options } = readBrokerOptions(flags, { HTTPS_PROXY: proxy.url.href });
    await using behind = await startBroker(options, { log: silentLogger });
    const knocks = async () =>
      knock('c5', await server.token('c5', 'cluster-proxy-agent'), behind.url);
    await server.apply([...account('c5', 'cluster-proxy-agent'), managedCluster('c5')]);
    await expect.poll(knocks, { timeout: 15_000 }).toBe('in');
    await server.apply(managedCluster('c5', false));
    await expect.poll(knocks).toMatch(/^403: .*hubAcceptsClient=false/);
    expect(new Set(proxy.asked)).toEqual(new Set([away.host]));
  });

  it('cannot check tokens while the API server is away, and keeps what it has heard', async () => {
    const token = await server.token('c3', 'cluster-proxy-agent');
    const certificateDir = await agents.directory(join(directory, 'c3'), { cluster: 'c3' });
    const flags = ['--cluster', 'c3', '--broker-url', broker.url, '--tunnels', '1'];
    const { options } = readAgentOptions([...flags, '--certificate-dir', certificateDir], {});
    await server.goAway();
    expect(await knock('c3', token)).toMatch(/^503: .*cannot be checked now/);
    await using agent = await startAgent(options, { log: silentLogger });
    await agent.connected;
    await server.comeBack();
    await expect.poll(() => knock('c3', token), { timeout: 15_000 }).toBe('in');
  });
});
