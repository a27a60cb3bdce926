import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import {
  type RunningApiServer,
  startApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { startUpstreamAgent } from '../../testkit/ground/upstream.ts';
import { startLoadBalancer } from '../../testkit/network/load-balancer.ts';
import { freePort, type Program } from '../../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { loggedLine, startCulvert } from '../../testkit/world/world.ts';

const audience = 'system:konnectivity-server';
const namespace = 'kube-system';
const reviewer = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'konnectivity-server' },
  roleRef: {
    apiGroup: 'rbac.authorization.k8s.io',
    kind: 'ClusterRole',
    name: 'system:auth-delegator',
  },
  subjects: [{ kind: 'User', name: 'konnectivity', apiGroup: 'rbac.authorization.k8s.io' }],
};
const account = (name: string) => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { namespace, name },
});

/** For the Leases of servers: what a server and an agent need. */
const leaseRights = ['konnectivity', 'lease-agent'].flatMap((name) => {
  const server = ['create', 'patch', 'list', 'delete'];
  const metadata = { namespace, name: `${name}-leases` };
  const apiGroup = 'rbac.authorization.k8s.io';
  const resources = { apiGroups: ['coordination.k8s.io'], resources: ['leases'] };
  const verbs = name === 'konnectivity' ? server : ['get', 'list', 'watch'];
  const roleRef = { apiGroup, kind: 'Role', name: metadata.name };
  const subjects = [{ apiGroup, kind: 'User', name }];
  return [
    { apiVersion: `${apiGroup}/v1`, kind: 'Role', metadata, rules: [{ ...resources, verbs }] },
    { apiVersion: `${apiGroup}/v1`, kind: 'RoleBinding', metadata, roleRef, subjects },
  ];
});

const real = {
  programs: await ground.upstream(),
  kubernetes: await findPrograms(apiServerPrograms),
};

describeWith(
  real,
  'agents with tokens that a real API server reviews',
  ({ programs, kubernetes }) => {
    const stack = new AsyncDisposableStack();
    let certificates: TestCertificates;
    let server: RunningApiServer;
    let proxyServer: Program;
    let socket: string;
    let agentPort: number;

    beforeAll(async () => {
      certificates = stack.use(await makeTestCertificates());
      server = stack.use(await startApiServer(kubernetes));
      await server.apply([reviewer, account('konnectivity-agent'), account('other')]);
      const running = stack.use(await startProxyServer());
      ({ program: proxyServer, socket, agentPort } = running);
    }, 120_000);
    afterAll(async () => {
      await stack.disposeAsync();
    });

    interface RunningProxyServer extends AsyncDisposable {
      readonly program: Program;
      readonly socket: string;
      readonly agentPort: number;
    }

    async function startProxyServer(args: readonly string[] = []): Promise<RunningProxyServer> {
      const [port, health, admin] = [await freePort(), await freePort(), await freePort()];
      const uds = join(certificates.directory, `konnectivity-${port}.sock`);
      const program = startCulvert('proxy-server', [
        ...[`--uds-name=${uds}`, '--server-port=0'],
        ...['--agent-bind-address=127.0.0.1', `--agent-port=${port}`],
        `--cluster-cert=${certificates.server.cert}`,
        `--cluster-key=${certificates.server.key}`,
        ...[`--agent-namespace=${namespace}`, '--agent-service-account=konnectivity-agent'],
        `--authentication-audience=${audience}`,
        `--kubeconfig=${await server.kubeconfigFor({ user: 'konnectivity' })}`,
        ...['--health-bind-address=127.0.0.1', `--health-port=${health}`],
        `--admin-port=${admin}`,
        ...args,
      ]);
      await loggedLine(program, 'konnectivity agents are accepted');
      const dispose = () => program[Symbol.asyncDispose]();
      return { program, socket: uds, agentPort: port, [Symbol.asyncDispose]: dispose };
    }

    const token = (name = 'konnectivity-agent', of = audience) =>
      server.token(namespace, name, { audience: of });
    const refused = [
      ['another ServiceAccount', () => token('other'), 'incoming request from "other"'],
      ['another audience', () => token('konnectivity-agent', 'another'), 'lookup failed'],
      ['a false signature', async () => `${(await token()).slice(0, -8)}AAAAAAAA`, 'lookup failed'],
    ] as const;

    function tokenFile(id: string): string {
      return join(certificates.directory, `token-${id}`);
    }

    async function startStandardAgent(id: string): Promise<Program> {
      const access = { port: agentPort, serverCa: certificates.server.ca, agent: undefined };
      return await startUpstreamAgent(programs, access, {
        args: [`--agent-id=${id}`, `--service-account-token-path=${tokenFile(id)}`],
      });
    }

    async function startOwnAgent(id: string): Promise<Program> {
      return startCulvert('proxy-agent', [
        ...['--proxy-server-host=127.0.0.1', `--proxy-server-port=${agentPort}`],
        ...[`--ca-cert=${certificates.server.ca}`, `--agent-id=${id}`],
        `--service-account-token-path=${tokenFile(id)}`,
        ...['--health-server-host=127.0.0.1', `--health-server-port=${await freePort()}`],
      ]);
    }

    const kinds = [
      ['upstream', startStandardAgent, /konnectivity agent connected/],
      ['culvert', startOwnAgent, /agent connected/],
    ] as const;

    async function serves(): Promise<boolean> {
      await using target = await startTarget({ mode: 'echo' });
      await using client = await openClient({ address: `unix:${socket}` });
      return await isServed(client, target.address);
    }

    it.each(kinds)(
      'An agent of %s with a token of the ServiceAccount is accepted and serves dials',
      { timeout: 60_000 },
      async (kind, start, connected) => {
        const id = `${kind}-good`;
        await writeFile(tokenFile(id), await token());
        await using agent = killed(await start(id));
        await proxyServer.waitForLine(new RegExp(`"agent":"${id}".*${connected.source}`));
        expect(agent.program.output).not.toContain('UNAUTHENTICATED');
        expect(await serves()).toBe(true);
      },
    );

    it.each(kinds.flatMap(([kind, start]) => refused.map((row) => [kind, ...row, start] as const)))(
      'An agent of %s with a token of %s is refused',
      { timeout: 60_000 },
      async (kind, what, makeToken, reason, start) => {
        const id = `${kind}-${what.replaceAll(' ', '-')}`;
        const seen = proxyServer.output.length;
        await writeFile(tokenFile(id), await makeToken());
        await using _agent = killed(await start(id));
        const refusals = () => proxyServer.output.slice(seen);
        await expect.poll(refusals, { timeout: 20_000 }).toContain(reason.replaceAll('"', '\\"'));
        expect(refusals()).not.toContain('agent connected');
      },
    );

    it.each([
      ['upstream', startStandardAgent, /cannot connect once/],
      ['culvert', startOwnAgent, /no connection to the broker/],
    ] as const)(
      'An agent of %s is accepted when the file of its token has a good one',
      { timeout: 60_000 },
      async (kind, start, refusal) => {
        const id = `${kind}-rotated`;
        await writeFile(tokenFile(id), await token('other'));
        await using agent = killed(await start(id));
        await agent.program.waitForLine(refusal);
        await writeFile(tokenFile(id), await token());
        await proxyServer.waitForLine(new RegExp(`"agent":"${id}".*agent connected`));
        expect(await serves()).toBe(true);
      },
    );

    it('An agent of upstream that counts the Leases of servers connects to each server', async () => {
      await server.apply(leaseRights);
      const kubeconfig = await server.kubeconfigFor({ user: 'lease-agent' });
      const servers = stack.use(await startLoadBalancer());
      const healthPort = await freePort();
      // Servers report --server-count=1, so an agent that does not count stays at one server.
      const own = ['--enable-lease-controller', `--lease-namespace=${namespace}`];
      await using first = await startProxyServer([...own, '--server-id=s1']);
      servers.setPorts([first.agentPort]);
      await writeFile(tokenFile('leases'), await token());
      const args = [
        ...['--agent-id=leases', `--service-account-token-path=${tokenFile('leases')}`],
        ...['--count-server-leases', `--lease-namespace=${namespace}`],
        ...[`--kubeconfig=${kubeconfig}`, '--sync-interval=200ms', '--sync-interval-cap=1s'],
      ];
      const access = { port: servers.port, serverCa: certificates.server.ca, agent: undefined };
      await using agent = killed(await startUpstreamAgent(programs, access, { args, healthPort }));
      const counts = async (): Promise<readonly (number | undefined)[]> => {
        const answer = await fetch(`http://127.0.0.1:${healthPort}/metrics`).catch(() => undefined);
        const text = (await answer?.text()) ?? '';
        return ['known_server_count', 'open_server_connections'].map((name) =>
          numberOf(text, `konnectivity_network_proxy_agent_${name}`),
        );
      };
      const settled = { timeout: 60_000, interval: 250 };
      await expect.poll(counts, settled).toEqual([1, 1]);
      await using second = await startProxyServer([...own, '--server-id=s2']);
      servers.setPorts([first.agentPort, second.agentPort]);
      await expect.poll(counts, settled).toEqual([2, 2]);
      expect(second.program.output).toContain('konnectivity agent connected');
      // A server that ends deletes its Lease.
      servers.setPorts([first.agentPort]);
      await second.program.stop();
      const leases = await server.get<{ items: KubeObject[] }>('lease', '-n', namespace);
      const names = leases.items.map(({ metadata }) => metadata.name);
      expect(names).toContain('konnectivity-proxy-server-s1');
      expect(names).not.toContain('konnectivity-proxy-server-s2');
      await expect.poll(counts, settled).toEqual([1, 1]);
      expect(agent.program.output).not.toContain('forbidden');
    }, 180_000);
  },
);

/** The value of a metric without labels in the text of /metrics. */
function numberOf(text: string, name: string): number | undefined {
  const [, value] = new RegExp(`^${name} (\\S+)$`, 'm').exec(text) ?? [];
  return value === undefined ? undefined : Number(value);
}

/** Upstream's agents only drain after a SIGTERM. */
function killed(program: Program): AsyncDisposable & { readonly program: Program } {
  return {
    program,
    async [Symbol.asyncDispose]() {
      program.kill('SIGKILL');
      await program.stop();
    },
  };
}
