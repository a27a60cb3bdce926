import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import { startProgram, type Program } from '../../../testkit/processes/process.ts';
import { culvert, loggedLine, TestTokens, timesLogged } from '../../../testkit/world/world.ts';
import { apiAddress, echoPort, kubeletPort, nodeAddress, podAddress } from './addresses.ts';
import { backendPort, podPort, serviceRange, webhookAddress } from './addresses.ts';
import type { Egress } from './egress.ts';
import type { Hub } from './hub.ts';

const cluster = 'prod-1';

/** Where the bridge runs: as a process beside the kube-apiserver, or inside the broker. */
export type BridgeForm = 'beside' | 'inside';

export interface CulvertOptions {
  readonly form: BridgeForm;
  readonly agents: number;
  /** The flags of the bridge's listener. */
  readonly frontArgs: readonly string[];
  /** More flags of the broker. */
  readonly brokerArgs?: readonly string[];
  /** How long an agent that shuts down waits for its streams (default 3s). */
  readonly drainTimeout?: string;
}

/** Destinations as docs/egress-selector.md says. */
export const allowed = {
  pods: [
    `${webhookAddress.pod}:${backendPort}`,
    `${apiAddress.pod}:${backendPort}`,
    `${podAddress}:${podPort}`,
    `${podAddress}:${echoPort}`,
  ],
  nodes: [`${nodeAddress}:${kubeletPort}`],
  services: [`${serviceRange}:443`],
};

/** culvert as the egress of a kube-apiserver. */
export class CulvertEgress implements Egress {
  readonly name: string;
  readonly #hub: Hub;
  readonly #options: CulvertOptions;
  readonly #tokens: TestTokens;
  readonly #stack = new AsyncDisposableStack();
  #brokerTls: readonly string[] = [];
  #broker: Program | undefined;
  #bridge: Program | undefined;
  #agents: Program[] = [];
  readonly #programs: Program[] = [];

  private constructor(hub: Hub, tokens: TestTokens, options: CulvertOptions) {
    const place = options.form === 'beside' ? 'beside the kube-apiserver' : 'inside the broker';
    this.name = `culvert, bridge ${place}`;
    this.#hub = hub;
    this.#tokens = tokens;
    this.#options = options;
  }

  static async start(hub: Hub, options: CulvertOptions): Promise<CulvertEgress> {
    const egress = new CulvertEgress(hub, await TestTokens.create(hub.directory), options);
    try {
      await egress.#start();
      return egress;
    } catch (error) {
      await egress[Symbol.asyncDispose]();
      throw error;
    }
  }

  get broker(): Program {
    return this.#broker!;
  }

  /** The process that listens for the kube-apiserver. */
  get bridge(): Program {
    return this.#bridge ?? this.broker;
  }

  get agents(): readonly Program[] {
    return this.#agents;
  }

  async killBroker(downMs: number): Promise<void> {
    this.broker.kill('SIGKILL');
    await this.broker.exited;
    await sleep(downMs);
    await this.#startBroker();
  }

  async addAgent(): Promise<void> {
    await this.#startAgent();
  }

  async killAgent(): Promise<void> {
    const dials = (agent: Program) => timesLogged(agent, 'target dialed');
    const [busiest] = this.#agents.toSorted((a, b) => dials(b) - dials(a));
    this.#agents = this.#agents.filter((agent) => agent !== busiest);
    busiest!.kill('SIGKILL');
    await busiest!.exited;
  }

  async rollAgents(): Promise<void> {
    for (const old of this.#agents.slice()) {
      await this.#startAgent();
      old.kill('SIGTERM');
      await old.exited;
      this.#agents = this.#agents.filter((agent) => agent !== old);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing has to be drained.
    for (const program of this.#programs) program.kill('SIGKILL');
    await this.#stack.disposeAsync();
  }

  async #start(): Promise<void> {
    const { hub, pki } = this.#hub;
    const address = this.#hub.cluster.otherAddress;
    const tls = await pki.issue({
      name: 'broker',
      user: 'broker',
      ipAddresses: [address, hub.address],
    });
    this.#brokerTls = ['--tls-cert', tls.cert, '--tls-key', tls.key];
    await this.#startBroker();
    if (this.#options.form === 'beside') await this.#startBridge();
    for (let count = 0; count < this.#options.agents; count++) await this.#startAgent();
  }

  get #brokerHost(): string {
    return `${this.#hub.cluster.otherAddress}:8443`;
  }

  get #link(): string[] {
    return [
      ...['--broker-url', `wss://${this.#brokerHost}`],
      ...['--ca-file', this.#hub.pki.ca.cert, '--cluster', cluster],
    ];
  }

  async #startBroker(): Promise<void> {
    const { form, frontArgs, brokerArgs = [] } = this.#options;
    const front = form === 'inside' ? [...frontArgs, '--cluster', cluster] : [];
    const args = ['--listen', this.#brokerHost, ...this.#brokerTls, ...front];
    const token = ['--token-public-key', this.#tokens.publicKeyFile];
    this.#broker = this.#run('broker', [...args, ...token, ...brokerArgs]);
    await loggedLine(this.#broker, 'broker listens');
  }

  async #startBridge(): Promise<void> {
    const token = await this.#tokens.issue({
      kind: 'dialer',
      name: 'apiserver-1',
      clusters: [cluster],
    });
    const args = [...this.#link, '--token-file', await this.#tokens.file(token)];
    this.#bridge = this.#run('bridge', [...args, ...this.#options.frontArgs]);
    await loggedLine(this.#bridge, 'konnectivity bridge listens');
  }

  async #startAgent(): Promise<void> {
    const token = await this.#tokens.issue({ kind: 'agent', cluster });
    const allow = Object.values(allowed).flat();
    const agent = this.#run(
      'agent',
      [
        ...this.#link,
        ...['--token-file', await this.#tokens.file(token), '--enable-kube-api-proxy=false'],
        ...['--tunnels', '1', '--drain-timeout', this.#options.drainTimeout ?? '3s'],
        ...allow.flatMap((destination) => ['--allow', destination]),
      ],
      'cluster',
    );
    this.#agents.push(agent);
    await loggedLine(agent, 'connected to the broker');
  }

  #run(command: string, args: readonly string[], where: 'hub' | 'cluster' = 'hub'): Program {
    const fromSources = culvert(command, args);
    const released = { ...fromSources, args: [inject('culvertProgram'), command, ...args] };
    const program = startProgram(this.#hub[where].inside(released));
    this.#programs.push(program);
    return this.#stack.use(program);
  }
}

/** The path of the socket in the configurations of these tests. */
export function socketPath({ directory }: { readonly directory: string }): string {
  return join(directory, 'konnectivity.sock');
}
