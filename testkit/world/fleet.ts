import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FrontAccess } from '../ground/konnectivity-client.ts';
import { startLoadBalancer, type LoadBalancer } from '../network/load-balancer.ts';
import { freePort, type Program } from '../processes/process.ts';
import { loggedLine, startCulvert, TestTokens } from './world.ts';

export interface FleetOptions {
  readonly brokers: number;
  readonly redisPort: number;
  /** Agents by cluster (default one of `cluster1`). */
  readonly agents?: Readonly<Record<string, number>>;
  readonly agentArgs?: readonly string[];
  readonly brokerArgs?: readonly string[];
  /** The bridge's broker, given the load balancer's port (default: the load balancer). */
  readonly bridgeRoute?: (balancerPort: number) => Promise<number>;
}

/** Where an agent connects, and where its kube-apiserver is. */
export interface FleetAgentOptions {
  /** Default: the load balancer's. */
  readonly brokerPort?: number;
  /** Default 127.0.0.1. */
  readonly kubeApiserver?: string;
}

/** A broker or the bridge; it can be killed and started again at the same address. */
export class FleetProgram {
  readonly port: number;
  readonly #start: (port: number) => Program;
  /** What it logs once it listens. */
  readonly #listens: string;
  #program: Program;

  constructor(port: number, listens: string, start: (port: number) => Program) {
    this.port = port;
    this.#listens = listens;
    this.#start = start;
    this.#program = start(port);
  }

  get program(): Program {
    return this.#program;
  }

  async ready(): Promise<void> {
    await loggedLine(this.#program, this.#listens);
  }

  /** Starts the process again after its end. */
  async restart(): Promise<void> {
    this.#program = this.#start(this.port);
    await this.ready();
  }
}

/**
 * Brokers that share a Redis behind a load balancer, agents, and a bridge of its own process, all
 * real, without TLS.
 */
export class Fleet implements AsyncDisposable {
  readonly brokers: readonly FleetProgram[];
  readonly balancer: LoadBalancer;
  readonly agents: Program[] = [];
  readonly bridge: FleetProgram;
  readonly front: FrontAccess;
  readonly tokens: TestTokens;
  readonly #directory: string;
  readonly #agentArgs: readonly string[];

  private constructor(parts: {
    readonly brokers: readonly FleetProgram[];
    readonly balancer: LoadBalancer;
    readonly bridge: FleetProgram;
    readonly front: FrontAccess;
    readonly tokens: TestTokens;
    readonly directory: string;
    readonly agentArgs: readonly string[];
  }) {
    this.brokers = parts.brokers;
    this.balancer = parts.balancer;
    this.bridge = parts.bridge;
    this.front = parts.front;
    this.tokens = parts.tokens;
    this.#directory = parts.directory;
    this.#agentArgs = parts.agentArgs;
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-fleet-'));
    const tokens = await TestTokens.create(directory);
    const keyFile = join(directory, 'replica.key');
    await writeFile(keyFile, crypto.randomUUID());
    const startBroker = (port: number): Program =>
      startCulvert('broker', [
        ...['--listen', `127.0.0.1:${port}`, '--token-public-key', tokens.publicKeyFile],
        ...['--redis-url', `redis://127.0.0.1:${options.redisPort}`, '--replica-key-file', keyFile],
        ...['--replica-address', `ws://127.0.0.1:${port}`, '--replica-id', `broker-${port}`],
        ...(options.brokerArgs ?? []),
      ]);
    const ports = await Promise.all(Array.from({ length: options.brokers }, () => freePort()));
    const brokers = ports.map((port) => new FleetProgram(port, 'broker listens', startBroker));
    await Promise.all(brokers.map((broker) => broker.ready()));
    const balancer = await startLoadBalancer(ports);
    const dialer = await tokens.issue({ kind: 'dialer', name: 'bridge' });
    const bridgePort = (await options.bridgeRoute?.(balancer.port)) ?? balancer.port;
    const dialerFile = await tokens.file(dialer);
    const startBridge = (port: number): Program =>
      startCulvert('bridge', [
        ...['--broker-url', `ws://127.0.0.1:${bridgePort}`, '--token-file', dialerFile],
        ...['--konnectivity-listen', `127.0.0.1:${port}`],
      ]);
    const bridge = new FleetProgram(await freePort(), 'konnectivity bridge listens', startBridge);
    await bridge.ready();
    const front = { address: `127.0.0.1:${bridge.port}` };
    const agentArgs = options.agentArgs ?? [];
    const fleet = new Fleet({ brokers, balancer, bridge, front, tokens, directory, agentArgs });
    for (const [cluster, count] of Object.entries(options.agents ?? { cluster1: 1 })) {
      for (let i = 0; i < count; i++) await fleet.startAgent(cluster, `${cluster}-agent-${i}`);
    }
    return fleet;
  }

  /** Starts an agent through the load balancer, and waits until a broker has accepted it. */
  async startAgent(
    cluster: string,
    agentId: string,
    { brokerPort = this.balancer.port, kubeApiserver = '127.0.0.1' }: FleetAgentOptions = {},
  ): Promise<Program> {
    const token = await this.tokens.issue({ kind: 'agent', cluster });
    const agent = startCulvert('agent', [
      ...['--broker-url', `ws://127.0.0.1:${brokerPort}`, '--cluster', cluster],
      ...['--token-file', await this.tokens.file(token), '--agent-id', agentId],
      ...['--kube-apiserver', kubeApiserver, ...this.#agentArgs],
    ]);
    this.agents.push(agent);
    await loggedLine(agent, 'connected to the broker');
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { agents, bridge, brokers } = this;
    const programs = [...agents, bridge.program, ...brokers.map(({ program }) => program)];
    for (const program of programs) program.kill('SIGKILL');
    await Promise.all(programs.map((program) => program.stop()));
    await this.balancer[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
