import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GoPrograms, UpstreamPrograms } from '../testkit/ground/go-programs.ts';
import { frontFlags } from '../testkit/ground/konnectivity-client.ts';
import { startUpstream, type AgentPlace } from '../testkit/ground/upstream.ts';
import { startProgram } from '../testkit/processes/process.ts';
import { makeTestCertificates } from '../testkit/world/certificates.ts';
import { startBareChain } from './bare/bare-chain.ts';
import { startCulvertPair, type CulvertOptions, type FrontKind } from './culvert-pair.ts';
import { startNodeRelay } from './node-relay.ts';

/**
 * The compared ways from the load generator to its target: `baseline` is culvert of another
 * checkout, `apart` has its bridge in a process of its own. `bare` is the lower bound, `bareShared`
 * the lower bound with one link for all clients, and `bareGrpc` the lower bound for a gRPC client.
 */
export type PeerName =
  | 'culvert'
  | 'baseline'
  | 'apart'
  | 'upstream'
  | 'bare'
  | 'bareShared'
  | 'bareGrpc'
  | 'bareGrpcShared'
  | 'relay'
  | 'direct';

export interface Peer {
  readonly name: string;
  /** Flags of the load generator for the way to the target. */
  readonly loadFlags: readonly string[];
  /** Other flags for dials (default: the same). */
  readonly dialFlags?: readonly string[];
  /** Processes on the hub's side and in the managed cluster. Empty for a direct connection. */
  readonly serverPids: readonly number[];
  readonly agentPids: readonly number[];
  /** The target's process, if its CPU time matters. */
  readonly targetPid?: number;
}

export interface PeersOptions {
  readonly names: readonly PeerName[];
  readonly front: FrontKind;
  /** The time that each direction between server and agent takes, in milliseconds. */
  readonly delayMs?: number;
  /** Where agents and the target run (default: here), and the address of the target there. */
  readonly agentPlace?: AgentPlace & { readonly targetHost: string };
  /** The root of the checkout that `baseline` runs. */
  readonly baseline?: string;
  /** The directory for CPU profiles of culvert's processes. */
  readonly cpuProfiles?: string;
}

export interface Peers extends AsyncDisposable {
  readonly byName: ReadonlyMap<PeerName, Peer>;
  /** Restarts upstream's server and agent, because a stalled stream blocks its agent for ever. */
  restartUpstream(): Promise<void>;
}

/** Starts all peers once. A peer that is not being measured is idle. */
export async function startPeers(
  go: GoPrograms,
  programs: UpstreamPrograms,
  options: PeersOptions,
): Promise<Peers> {
  const { names, front, delayMs } = options;
  await using stack = new AsyncDisposableStack();
  const made = stack.use(await makeTestCertificates());
  const { agentPlace } = options;
  const serverOfBench = await made.serverAuthority.issue({
    name: 'bench-server',
    usage: 'server',
    addresses: agentPlace === undefined ? [] : [agentPlace.serverHost],
  });
  const certificates = { ...made, server: serverOfBench };
  const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));

  const targetHost = agentPlace?.targetHost ?? '127.0.0.1';
  const [command, ...before] = [...(agentPlace?.prefix ?? []), go.load, 'target'];
  const target = stack.use(
    startProgram({ command, args: [...before, '--host', targetHost], name: 'target' }),
  );
  const [, port] = await target.waitForLine(/"port":(\d+)/);
  const counter = `${targetHost}:${port}`;
  const to = (address: string): string[] => ['--to', address, '--counter', counter];
  const agentRoute = async (serverPort: number): Promise<number> => {
    const args = ['relay', '--to', `127.0.0.1:${serverPort}`, '--delay', `${delayMs}ms`];
    const relay = stack.use(startProgram({ command: go.load, args, name: 'relay with delay' }));
    return Number((await relay.waitForLine(/"port":(\d+)/))[1]);
  };
  const route = {
    ...(delayMs === undefined ? {} : { agentRoute }),
    ...(agentPlace === undefined ? {} : { agentPlace }),
  };

  const byName = new Map<PeerName, Peer>();
  const startCulvert = async (name: 'culvert' | 'baseline', more: Partial<CulvertOptions>) => {
    const at = { directory: join(directory, name), targetHost };
    const own = { front, certificates, ...at, ...route, ...more };
    const pair = await startCulvertPair(stack, own);
    const loadFlags = [...pair.frontFlags, ...to(`cluster1:${port}`)];
    const [serverPids, agentPids] = [[pair.broker.pid], [pair.agent.pid]];
    byName.set(name, { name, loadFlags, serverPids, agentPids, targetPid: target.pid });
    return pair;
  };
  if (names.includes('culvert') || names.includes('apart')) {
    const { cpuProfiles } = options;
    const pair = await startCulvert('culvert', cpuProfiles === undefined ? {} : { cpuProfiles });
    if (names.includes('apart')) {
      const bridge = await pair.startBridge();
      byName.set('apart', {
        name: 'culvert, bridge apart',
        loadFlags: [...bridge.frontFlags, ...to(`cluster1:${port}`)],
        serverPids: [pair.broker.pid, bridge.program.pid],
        agentPids: [pair.agent.pid],
      });
    }
  }
  if (names.includes('baseline')) await startCulvert('baseline', { checkout: options.baseline! });

  const startGo = async () => {
    const udsPath = join(directory, 'upstream.sock');
    const own = { verbosity: 0, ...route, ...(front === 'uds' ? { udsPath } : {}) };
    const upstream = await startUpstream(programs, certificates, own);
    const { server, client } = certificates;
    const tls = front === 'uds' ? {} : { tls: { serverCa: server.ca, client } };
    byName.set('upstream', {
      name: 'konnectivity (Go)',
      loadFlags: [...frontFlags({ address: upstream.front, ...tls }), ...to(counter)],
      serverPids: [upstream.server.pid],
      agentPids: [upstream.agent.pid],
      targetPid: target.pid,
    });
    return upstream;
  };
  let upstream = names.includes('upstream') ? await startGo() : undefined;
  stack.defer(async () => upstream?.[Symbol.asyncDispose]());

  if (names.includes('bare')) {
    const chain = await startBareChain(stack, {
      certificates,
      hasClientCertificates: true,
      target: { port: Number(port) },
    });
    const { server, client } = certificates;
    const tls = ['--ca', server.ca, '--cert', client.cert, '--key', client.key];
    const own = { serverPids: [chain.broker.pid], agentPids: [chain.agent.pid] };
    byName.set('bare', {
      name: 'bare chain',
      loadFlags: ['--direct', ...tls, ...to(chain.address)],
      dialFlags: ['--direct', '--greeted', ...tls, ...to(chain.dialAddress)],
      ...own,
      targetPid: target.pid,
    });
    byName.set('bareShared', {
      name: 'bare chain with one link',
      loadFlags: ['--direct', ...tls, ...to(chain.sharedAddress)],
      ...own,
      targetPid: target.pid,
    });
    byName.set('bareGrpcShared', {
      name: 'bare chain with a gRPC client and one link',
      loadFlags: ['--front', chain.sharedAddress, ...tls, ...to(counter)],
      ...own,
      targetPid: target.pid,
    });
    byName.set('bareGrpc', {
      name: 'bare chain with a gRPC client',
      loadFlags: ['--front', chain.grpcAddress, ...tls, ...to(counter)],
      dialFlags: ['--front', chain.dialAddress, ...tls, ...to(counter)],
      ...own,
      targetPid: target.pid,
    });
  }
  if (names.includes('relay')) {
    const relay = stack.use(await startNodeRelay(Number(port)));
    byName.set('relay', {
      name: 'one Node relay',
      loadFlags: ['--direct', ...to(relay.address)],
      serverPids: [relay.program.pid],
      agentPids: [],
    });
  }
  byName.set('direct', {
    name: 'direct TCP',
    loadFlags: ['--direct', ...to(counter)],
    serverPids: [],
    agentPids: [],
  });

  const running = stack.move();
  return {
    byName,
    async restartUpstream() {
      if (upstream === undefined) return;
      await upstream[Symbol.asyncDispose]();
      upstream = await startGo();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
