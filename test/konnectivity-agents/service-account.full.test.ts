import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import {
  type RunningApiServer,
  startApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { startUpstreamAgent } from '../../testkit/ground/upstream.ts';
import { freePort, type Program } from '../../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { loggedLine, startCulvert } from '../../testkit/world/world.ts';

const highestServerPort = 49_151;
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
      socket = join(certificates.directory, 'konnectivity.sock');
      agentPort = await freePort(highestServerPort);
      const [health, admin] = [
        await freePort(highestServerPort),
        await freePort(highestServerPort),
      ];
      proxyServer = stack.use(
        startCulvert('proxy-server', [
          ...[`--uds-name=${socket}`, '--server-port=0'],
          ...['--agent-bind-address=127.0.0.1', `--agent-port=${agentPort}`],
          `--cluster-cert=${certificates.server.cert}`,
          `--cluster-key=${certificates.server.key}`,
          ...[`--agent-namespace=${namespace}`, '--agent-service-account=konnectivity-agent'],
          `--authentication-audience=${audience}`,
          `--kubeconfig=${await server.kubeconfigFor({ user: 'konnectivity' })}`,
          ...['--health-bind-address=127.0.0.1', `--health-port=${health}`],
          `--admin-port=${admin}`,
        ]),
      );
      await loggedLine(proxyServer, 'konnectivity agents are accepted');
    }, 120_000);
    afterAll(async () => {
      await stack.disposeAsync();
    });

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

    // An agent of culvert waits longer after a refusal, so a test of its options shows the same.
    it('An agent of upstream is accepted when the file of its token has a good one', async () => {
      const id = 'upstream-rotated';
      await writeFile(tokenFile(id), await token('other'));
      await using agent = killed(await startStandardAgent(id));
      await agent.program.waitForLine(/cannot connect once/);
      await writeFile(tokenFile(id), await token());
      await proxyServer.waitForLine(new RegExp(`"agent":"${id}".*agent connected`));
      expect(await serves()).toBe(true);
    });
  },
);

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
