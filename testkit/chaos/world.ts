import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '../../src/base/secret.ts';
import { createPinoLogger } from '../../src/base/log/pino-logger.ts';
import { createRemoteDialer } from '../../src/dialer/node/remote-dialer.ts';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import type { DebianProgram } from '../ground/debian-programs.ts';
import { startFaultyProxy, type FaultyProxy } from '../network/faulty-proxy.ts';
import { Fleet } from '../world/fleet.ts';
import type { Program } from '../processes/process.ts';
import { watchLog } from './program-lines.ts';
import { RedisServer } from './redis-server.ts';

const clusters = ['cluster1', 'cluster2'] as const;
const agentsPerCluster = 2;

/** An agent with its own network. Only this agent dials targets at `address`. */
export class ChaosAgent {
  readonly cluster: string;
  readonly id: string;
  /** The agent's kube-apiserver: a loopback address that no other agent dials. */
  readonly address: string;
  readonly network: FaultyProxy;
  program!: Program;

  constructor(cluster: string, id: string, address: string, network: FaultyProxy) {
    this.cluster = cluster;
    this.id = id;
    this.address = address;
    this.network = network;
  }
}

/** A session that continued over another link. */
export interface Resumption {
  readonly atMs: number;
  readonly dialer: string;
  readonly gapMs: number;
}

/** A dialer with its own network between it and the brokers. */
export interface ChaosDialer {
  readonly name: string;
  readonly network: FaultyProxy;
}

/**
 * A dialer in this process that reaches brokers through a port of loopback; each log line goes to
 * `write`.
 */
export function dialThrough(
  port: number,
  token: string,
  write: (line: string) => void = () => {},
): PooledDialer {
  return createRemoteDialer({
    brokerUrl: new URL(`ws://127.0.0.1:${port}`),
    readToken: async () => new Secret(token),
    caFile: undefined,
    serverName: undefined,
    hostHeader: undefined,
    proxies: {},
    log: createPinoLogger({ level: 'debug', destination: { write } }),
  });
}

/** Three brokers with Redis, a bridge, a dialer in this process, and agents, on bad networks. */
export class ChaosWorld implements AsyncDisposable {
  readonly clusters = clusters;
  readonly redis: RedisServer;
  readonly fleet: Fleet;
  readonly agents: readonly ChaosAgent[];
  readonly dialers: readonly ChaosDialer[];
  /** The dialer in this process; the other one is the bridge. */
  readonly dialer: PooledDialer;
  readonly resumptions: Resumption[] = [];
  readonly #over = new AbortController();
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<ChaosWorld, 'redis' | 'fleet' | 'agents' | 'dialers'> & { readonly token: string },
    stack: AsyncDisposableStack,
  ) {
    this.redis = parts.redis;
    this.fleet = parts.fleet;
    this.agents = parts.agents;
    this.dialers = parts.dialers;
    this.#stack = stack;
    this.#watchBridge();
    const write = (text: string): void =>
      this.#onDialerLog('dialer', JSON.parse(text) as Record<string, unknown>);
    this.dialer = dialThrough(parts.dialers[1]!.network.port, parts.token, write);
    stack.use(this.dialer);
    stack.defer(() => this.#over.abort());
  }

  static async start(redisProgram: DebianProgram): Promise<ChaosWorld> {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await RedisServer.start(redisProgram));
    const networks: FaultyProxy[] = [];
    const network = async (port: number): Promise<FaultyProxy> => {
      const made = stack.use(await startFaultyProxy(port));
      networks.push(made);
      return made;
    };
    const fleet = stack.use(
      await Fleet.start({
        brokers: 3,
        redisPort: redis.port,
        agents: {},
        brokerArgs: ['--drain-timeout', '10s', '--max-connections', '256'],
        bridgeRoute: async (port) => (await network(port)).port,
      }),
    );
    await network(fleet.balancer.port);
    const dialers = ['bridge', 'dialer'].map((name, at) => ({ name, network: networks[at]! }));
    const agents: ChaosAgent[] = [];
    for (const [at, cluster] of clusters.entries()) {
      for (let index = 0; index < agentsPerCluster; index++) {
        const address = `127.0.0.${2 + at * agentsPerCluster + index}`;
        const own = await network(fleet.balancer.port);
        agents.push(new ChaosAgent(cluster, `${cluster}-agent-${index}`, address, own));
      }
    }
    const token = await fleet.tokens.issue({ kind: 'dialer', name: 'chaos' });
    const world = new ChaosWorld({ redis, fleet, agents, dialers, token }, stack.move());
    try {
      await Promise.all(agents.map((agent) => world.startAgent(agent)));
    } catch (thrown) {
      await world[Symbol.asyncDispose]();
      throw thrown;
    }
    return world;
  }

  agentsOf(cluster: string): readonly ChaosAgent[] {
    return this.agents.filter((agent) => agent.cluster === cluster);
  }

  addressesOf(cluster: string): readonly string[] {
    return this.agentsOf(cluster).map(({ address }) => address);
  }

  /** Starts an agent, or starts it again under its name. */
  async startAgent(agent: ChaosAgent): Promise<void> {
    agent.program = await this.fleet.startAgent(agent.cluster, agent.id, {
      brokerPort: agent.network.port,
      kubeApiserver: agent.address,
    });
  }

  async killBridge(awayMs: number): Promise<void> {
    const { bridge } = this.fleet;
    bridge.program.kill('SIGKILL');
    await bridge.program.exited;
    await sleep(awayMs);
    await bridge.restart();
    this.#watchBridge();
  }

  #watchBridge(): void {
    watchLog(this.fleet.bridge.program, this.#over.signal, (line) =>
      this.#onDialerLog('bridge', line),
    );
  }

  heal(): void {
    for (const { network } of [...this.dialers, ...this.agents]) network.heal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #onDialerLog(dialer: string, line: Readonly<Record<string, unknown>>): void {
    const { event, gapMs } = line;
    if (event !== 'session resumed' || typeof gapMs !== 'number') return;
    this.resumptions.push({ atMs: performance.now(), dialer, gapMs });
  }
}
