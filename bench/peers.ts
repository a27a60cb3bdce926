import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import type { GoPrograms, UpstreamPrograms } from '../testkit/ground/go-programs.ts';
import { startUpstream } from '../testkit/ground/upstream.ts';
import { makeTestCertificates } from '../testkit/world/certificates.ts';
import { startProgram, type Program } from '../testkit/processes/process.ts';
import { logged, startCulvert } from '../testkit/world/world.ts';

/** One of the compared ways from the load generator to its target. */
export interface Peer {
  readonly name: string;
  /** Flags of the load generator for the way to the target. */
  readonly loadFlags: readonly string[];
  /** Processes on the hub's side and in the managed cluster. Empty for a direct connection. */
  readonly serverPids: readonly number[];
  readonly agentPids: readonly number[];
}

export interface Peers extends AsyncDisposable {
  readonly ours: Peer;
  readonly oursApart: Peer;
  readonly upstream: Peer;
  readonly relay: Peer;
  readonly direct: Peer;
  /** Restarts upstream's server and agent, because a stalled stream blocks its agent for ever. */
  restartUpstream(): Promise<void>;
}

/** Starts all peers once. A peer that is not being measured is idle. */
export async function startPeers(go: GoPrograms, programs: UpstreamPrograms): Promise<Peers> {
  await using stack = new AsyncDisposableStack();
  const certificates = stack.use(await makeTestCertificates());
  const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));

  const target = stack.use(startProgram({ command: go.load, args: ['target'], name: 'target' }));
  const [, port] = await target.waitForLine(/"port":(\d+)/);
  const counter = `127.0.0.1:${port}`;
  const viaFront = (front: string, to: string): string[] => [
    ...['--front', front, '--to', to, '--counter', counter],
  ];

  const { server } = certificates;
  const tls = ['--tls-cert', server.cert, '--tls-key', server.key];
  const start = (command: string, ...args: string[]): Program =>
    stack.use(startCulvert(command, args, { CULVERT_LOG_LEVEL: 'info' }));
  const near = join(directory, 'near.sock');
  const broker = start('broker', '--listen', '127.0.0.1:0', ...tls, '--konnectivity-uds', near);
  const brokerUrl = await logged(broker, 'broker listens', 'url');
  const ourAgent = start(
    'agent',
    ...['--broker-url', brokerUrl, '--cluster', 'cluster1'],
    ...['--ca-file', server.ca, '--kube-apiserver', '127.0.0.1'],
  );
  await ourAgent.waitForLine(/"event":"connected to the broker"/);
  const apart = join(directory, 'apart.sock');
  const bridge = start(
    'bridge',
    ...['--broker-url', brokerUrl, '--ca-file', server.ca, '--konnectivity-uds', apart],
  );
  await logged(bridge, 'konnectivity bridge listens', 'addresses');

  const udsPath = join(directory, 'upstream.sock');
  const startTheirs = () => startUpstream(programs, certificates, { udsPath, verbosity: 0 });
  let upstream = await startTheirs();
  stack.defer(() => upstream[Symbol.asyncDispose]());
  const relay = stack.use(await startRelay(Number(port)));

  const running = stack.move();
  return {
    ours: {
      name: 'culvert',
      loadFlags: viaFront(`unix:${near}`, `cluster1:${port}`),
      serverPids: [broker.pid],
      agentPids: [ourAgent.pid],
    },
    oursApart: {
      name: 'culvert, bridge apart',
      loadFlags: viaFront(`unix:${apart}`, `cluster1:${port}`),
      serverPids: [broker.pid, bridge.pid],
      agentPids: [ourAgent.pid],
    },
    get upstream() {
      return {
        name: 'konnectivity (Go)',
        loadFlags: viaFront(upstream.front, counter),
        serverPids: [upstream.server.pid],
        agentPids: [upstream.agent.pid],
      };
    },
    async restartUpstream() {
      await upstream[Symbol.asyncDispose]();
      upstream = await startTheirs();
    },
    relay: {
      name: 'one Node relay',
      loadFlags: ['--direct', '--to', relay.address, '--counter', counter],
      serverPids: [relay.program.pid],
      agentPids: [],
    },
    direct: {
      name: 'direct TCP',
      loadFlags: ['--direct', '--to', counter],
      serverPids: [],
      agentPids: [],
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startRelay(
  targetPort: number,
): Promise<AsyncDisposable & { readonly address: string; readonly program: Program }> {
  const program = startProgram({
    command: process.execPath,
    args: [fileURLToPath(import.meta.url), `${targetPort}`],
    name: 'relay',
  });
  const [, port] = await program.waitForLine(/^relay listens on (\d+)/);
  return {
    address: `127.0.0.1:${port}`,
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** The cost of the simplest possible tunnel in Node: two sockets and two pipes. */
async function runRelay(targetPort: number): Promise<void> {
  const relay = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  console.log(`relay listens on ${(relay.address() as AddressInfo).port}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runRelay(Number(process.argv[2]));
