import { afterEach, beforeEach, expect, it } from 'vitest';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient, type FrontAccess } from '../../testkit/ground/konnectivity-client.ts';
import { startUpstreamAgent } from '../../testkit/ground/upstream.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { freePort, type Program } from '../../testkit/processes/process.ts';
import { patternSha256 } from '../../testkit/stream/pattern.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { echo, ended, isServed, openClient } from '../../testkit/world/front-client.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';
import { logged, loggedLine, startCulvert, TestTokens } from '../../testkit/world/world.ts';

const real = { go: await ground.go(), programs: await ground.upstream() };

/** The port in `127.0.0.1:PORT`. */
function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

describeWith(real, "upstream's agents at our broker", ({ go, programs }) => {
  let stack: AsyncDisposableStack;
  let certificates: TestCertificates;
  let tokens: TestTokens;
  let broker: Program;
  let brokerUrl: string;
  let front: FrontAccess;
  let agentPort: number;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    certificates = stack.use(await makeTestCertificates());
    tokens = await TestTokens.create(certificates.directory);
    const { server, client, agent } = certificates;
    broker = stack.use(
      startCulvert('broker', [
        ...['--listen', '127.0.0.1:0', '--token-public-key', tokens.publicKeyFile],
        ...['--tls-cert', server.cert, '--tls-key', server.key, '--cluster', 'cluster1'],
        ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-tls-cert', server.cert],
        ...['--konnectivity-tls-key', server.key, '--konnectivity-client-ca', client.ca],
        ...['--konnectivity-agent-listen', '127.0.0.1:0', '--konnectivity-agent-ca', agent.ca],
        ...['--konnectivity-agent-tls-cert', server.cert],
        ...['--konnectivity-agent-tls-key', server.key],
        ...['--konnectivity-agent-strategies', 'destHost'],
        ...['--konnectivity-agent-strategies', 'default'],
      ]),
    );
    brokerUrl = await logged(broker, 'broker listens', 'url');
    agentPort = portOf(await logged(broker, 'konnectivity agents are accepted', 'address'));
    const { addresses } = await loggedLine(broker, 'konnectivity bridge listens');
    const [address] = addresses as string[];
    front = { address: address!, tls: { serverCa: server.ca, client } };
  });

  afterEach(async () => {
    await stack.disposeAsync();
  });

  /** Starts an agent of upstream and waits until the broker has it. */
  async function startAgent(id: string, args: readonly string[] = []): Promise<Program> {
    const { server, agent } = certificates;
    const access = { port: agentPort, serverCa: server.ca, agent };
    const program = await startUpstreamAgent(programs, access, {
      args: [`--agent-id=${id}`, ...args],
    });
    // A SIGTERM only drains it.
    stack.defer(async () => {
      program.kill('SIGKILL');
      await program.stop();
    });
    await broker.waitForLine(new RegExp(`"agent":"${id}".*konnectivity agent connected`));
    return program;
  }

  it('An agent of upstream serves a GET of the Go client and reports failed dials', async () => {
    await startAgent('a');
    await using target = await startTarget({ mode: 'http' });
    const got = await runClient(go, front, 'get', `http://${target.address}/`);
    expect(got).toMatchObject({ ok: true, status: 200, body: targetBody });
    const to = `127.0.0.1:${await freePort()}`;
    const refused = await runClient(go, front, 'dial-error', '--to', to);
    expect(refused).toMatchObject({ ok: true, isDialFailure: true, reason: 'endpoint' });
    expect(refused['dialError']).toContain('connection refused');
    await using silent = await startUnansweringPort();
    const args = ['--to', silent.address, '--after', '100ms'];
    const cancelled = await runClient(go, front, 'cancel', ...args);
    expect(cancelled).toMatchObject({ ok: true, isDialFailure: true, reason: 'context' });
    const slow = await runClient(go, front, 'dial-error', '--to', silent.address);
    expect(slow).toMatchObject({ ok: true, isDialFailure: true, reason: 'endpoint' });
    expect(slow['dialError']).toContain('i/o timeout');
  });

  it('An agent of upstream carries large transfers, and 100 connections at once', async () => {
    await startAgent('a');
    const bytes = 20_000_001;
    await using source = await startTarget({ mode: 'source', bytes, afterFirstByte: true });
    const down = ['--direction', 'down', '--to', source.address, '--bytes', `${bytes}`];
    const sha256 = patternSha256(bytes);
    expect(await runClient(go, front, 'hash', ...down)).toMatchObject({ ok: true, bytes, sha256 });
    await using sink = await startTarget({ mode: 'sink' });
    const up = ['--direction', 'up', '--to', sink.address, '--bytes', `${bytes}`];
    expect(await runClient(go, front, 'hash', ...up)).toMatchObject({ ok: true, sha256 });
    const [report] = await sink.waitForReports(1);
    expect(report).toMatchObject({ receivedBytes: bytes, sha256 });
    await using target = await startTarget({ mode: 'echo' });
    const got = await runClient(go, front, 'parallel', '--to', target.address, '--count', '100');
    expect(got).toMatchObject({ ok: true, passed: 100, failed: 0 });
  });

  it('The connections of an agent of upstream that is killed end, and another agent takes the next dials', async () => {
    const first = await startAgent('a');
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(front);
    const connection = await client.dial(target.address);
    await echo(connection, 'before');
    await startAgent('b');
    first.kill('SIGKILL');
    await ended(connection);
    expect(await isServed(client, target.address)).toBe(true);
  });

  it('A bridge in another process reaches an agent of upstream through the broker', async () => {
    await startAgent('a');
    const token = await tokens.issue({ kind: 'dialer', name: 'bridge' });
    const bridge = stack.use(
      startCulvert('bridge', [
        ...['--broker-url', brokerUrl, '--ca-file', certificates.server.ca],
        ...['--token-file', await tokens.file(token), '--cluster', 'cluster1'],
        ...['--konnectivity-listen', '127.0.0.1:0'],
      ]),
    );
    const { addresses } = await loggedLine(bridge, 'konnectivity bridge listens');
    const [address] = addresses as string[];
    await using target = await startTarget({ mode: 'http' });
    const got = await runClient(go, { address: address! }, 'get', `http://${target.address}/`);
    expect(got).toMatchObject({ ok: true, status: 200, body: targetBody });
  });

  it('The identifiers of an agent of upstream decide which agent serves a host', async () => {
    const named = await startAgent('named', ['--agent-identifiers=host=127.0.0.1']);
    await startAgent('other');
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(front);
    for (let count = 0; count < 5; count++) {
      expect(await isServed(client, target.address)).toBe(true);
    }
    const dialed = (program: Program) => program.output.split('Received DIAL_REQ').length - 1;
    expect(dialed(named)).toBe(5);
  });

  it('An agent of upstream that drains keeps its connections and gets no more dials', async () => {
    const first = await startAgent('a');
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(front);
    const connection = await client.dial(target.address);
    await echo(connection, 'before');
    await startAgent('b');
    first.kill('SIGTERM');
    // Up to 0.36, agents send DRAIN only when the next packet has come.
    while (!broker.output.includes('konnectivity agent drains')) await echo(connection, 'more');
    const before = first.output.split('Received DIAL_REQ').length;
    for (let count = 0; count < 5; count++) {
      expect(await isServed(client, target.address)).toBe(true);
    }
    expect(first.output.split('Received DIAL_REQ')).toHaveLength(before);
    expect(await echo(connection, 'after')).toBe('after');
  });

  it('A cluster that moves to our agent keeps its connections and sends new dials there', async () => {
    const standard = await startAgent('a');
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(front);
    const old = await client.dial(target.address);
    await echo(old, 'before');
    const token = await tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const ours = stack.use(
      startCulvert('agent', [
        ...['--broker-url', brokerUrl, '--ca-file', certificates.server.ca, '--tunnels', '1'],
        ...['--cluster', 'cluster1', '--token-file', await tokens.file(token)],
        ...['--kube-apiserver', '127.0.0.1', '--allow', '127.0.0.1:*'],
      ]),
    );
    await loggedLine(ours, 'connected to the broker');
    await broker.waitForLine(/session is asked to leave/);
    const before = standard.output.split('Received DIAL_REQ').length;
    expect(await isServed(client, target.address)).toBe(true);
    expect(standard.output.split('Received DIAL_REQ')).toHaveLength(before);
    expect(await echo(old, 'after')).toBe('after');
    ours.kill('SIGKILL');
    await ours.stop();
    await broker.waitForLine(/agent disconnected/);
    expect(await isServed(client, target.address)).toBe(true);
    expect(standard.output.split('Received DIAL_REQ')).toHaveLength(before + 1);
    expect(await echo(old, 'still')).toBe('still');
  });

  it('An agent of upstream with an enrolment token is accepted for the cluster that the token names', async () => {
    const { server, client } = certificates;
    const own = stack.use(
      startCulvert('broker', [
        ...['--listen', '127.0.0.1:0', '--token-public-key', tokens.publicKeyFile],
        ...['--tls-cert', server.cert, '--tls-key', server.key],
        ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-tls-cert', server.cert],
        ...['--konnectivity-tls-key', server.key, '--konnectivity-client-ca', client.ca],
        ...['--konnectivity-agent-listen', '127.0.0.1:0'],
        ...['--konnectivity-agent-tls-cert', server.cert],
        ...['--konnectivity-agent-tls-key', server.key],
      ]),
    );
    const port = portOf(await logged(own, 'konnectivity agents are accepted', 'address'));
    const start = async (subject: TokenSubject) => {
      const file = await tokens.file(await tokens.issue(subject));
      const access = { port, serverCa: server.ca, agent: undefined };
      const args = [`--service-account-token-path=${file}`];
      const program = await startUpstreamAgent(programs, access, { args });
      stack.defer(async () => {
        program.kill('SIGKILL');
        await program.stop();
      });
      return program;
    };
    await start({ kind: 'agent', cluster: 'one' });
    await loggedLine(own, 'konnectivity agent connected');
    const { addresses } = await loggedLine(own, 'konnectivity bridge listens');
    const [address] = addresses as string[];
    // In this mode the host of a dial names the cluster, so the agent looks it up.
    const to = { ...front, address: address! };
    const dialed = await runClient(go, to, 'dial-error', '--to', 'one:80');
    expect(dialed['dialError']).toContain('lookup one');
    const other = await start({ kind: 'dialer', name: 'x' });
    await other.waitForLine(/cannot connect once/);
    expect(await logged(own, 'konnectivity agent refused', 'code')).toBe('unauthenticated');
  });

  it('An agent of upstream with a certificate of another CA is not accepted', async () => {
    const { server, stranger } = certificates;
    const access = { port: agentPort, serverCa: server.ca, agent: stranger };
    const agent = await startUpstreamAgent(programs, access);
    stack.defer(async () => {
      agent.kill('SIGKILL');
      await agent.stop();
    });
    await agent.waitForLine(/cannot connect once/);
    expect(broker.output).not.toContain('konnectivity agent connected');
  });
});
