import { setTimeout as sleep } from 'node:timers/promises';
import type { UpstreamPrograms } from '../../../testkit/ground/go-programs.ts';
import type { KeyPairFiles } from '../../../testkit/ground/kubernetes/cluster-pki.ts';
import {
  startProgram,
  type Program,
  type ProgramOptions,
} from '../../../testkit/processes/process.ts';
import { socketPath } from './culvert-egress.ts';
import type { Egress } from './egress.ts';
import type { Hub } from './hub.ts';

/** The port of konnectivity's agents. */
export const agentPort = 8132;

/** Upstream's konnectivity server and agents as the egress of a kube-apiserver, GRPC over UDS. */
export class UpstreamEgress implements Egress {
  readonly name = 'konnectivity 0.36';
  readonly #hub: Hub;
  readonly #programs: UpstreamPrograms;
  readonly #certificate: KeyPairFiles;
  readonly #stack = new AsyncDisposableStack();
  readonly #started: Program[] = [];
  #server: Program | undefined;
  #agents: Program[] = [];
  #count = 0;

  private constructor(hub: Hub, programs: UpstreamPrograms, certificate: KeyPairFiles) {
    this.#hub = hub;
    this.#programs = programs;
    this.#certificate = certificate;
  }

  static async start(
    hub: Hub,
    programs: UpstreamPrograms,
    options: { readonly agents: number },
  ): Promise<UpstreamEgress> {
    // The certificate of the server and of the agents.
    const certificate = await hub.pki.issue({
      name: 'upstream',
      user: 'upstream',
      ipAddresses: [hub.cluster.otherAddress],
    });
    const egress = new UpstreamEgress(hub, programs, certificate);
    try {
      await egress.#startServer();
      for (let count = 0; count < options.agents; count++) await egress.#startAgent();
      return egress;
    } catch (error) {
      await egress[Symbol.asyncDispose]();
      throw error;
    }
  }

  get agents(): readonly Program[] {
    return this.#agents;
  }

  async killBroker(downMs: number): Promise<void> {
    await end(this.#server!, 'SIGKILL');
    await sleep(downMs);
    await this.#startServer();
  }

  async killAgent(): Promise<void> {
    // Each dial goes through an agent chosen at random, so all carry as much.
    await end(this.#agents.shift()!, 'SIGKILL');
  }

  async rollAgents(): Promise<void> {
    for (const old of this.#agents.slice()) {
      await this.#startAgent();
      old.kill('SIGTERM');
      // It ends many seconds after a SIGTERM. A kubelet waits for 30.
      await Promise.race([old.exited, sleep(5_000)]);
      await end(old, 'SIGKILL');
      this.#agents = this.#agents.filter((agent) => agent !== old);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#started) program.kill('SIGKILL');
    await this.#stack.disposeAsync();
  }

  async #startServer(): Promise<void> {
    const { cert, key } = this.#certificate;
    const args = [
      '--v=2',
      '--server-port=0',
      `--uds-name=${socketPath(this.#hub)}`,
      '--delete-existing-uds-file',
      `--agent-bind-address=${this.#hub.cluster.otherAddress}`,
      `--agent-port=${agentPort}`,
      `--cluster-cert=${cert}`,
      `--cluster-key=${key}`,
      `--cluster-ca-cert=${this.#hub.pki.ca.cert}`,
      '--admin-bind-address=127.0.0.1',
      '--health-bind-address=127.0.0.1',
    ];
    const options = { command: this.#programs.server, name: 'upstream proxy-server', args };
    this.#server = this.#run(this.#hub.hub.inside(options));
    await this.#server.waitForLine(/Starting agent server/i);
  }

  async #startAgent(): Promise<void> {
    const options = agentOptions(this.#hub, this.#programs, this.#certificate, this.#count++);
    const agent = this.#run(this.#hub.cluster.inside(options));
    this.#agents.push(agent);
    await agent.waitForLine(agentIsConnected);
  }

  #run(options: ProgramOptions): Program {
    const program = this.#stack.use(startProgram(options));
    this.#started.push(program);
    return program;
  }
}

/** What upstream's agent logs when a server has accepted it. */
export const agentIsConnected = /"Start serving"/;

/** One of several agents of upstream. It runs in the cluster's namespace. */
export function agentOptions(
  { cluster, pki }: Hub,
  { agent }: UpstreamPrograms,
  { cert, key }: KeyPairFiles,
  number: number,
): ProgramOptions {
  return {
    command: agent,
    name: 'upstream proxy-agent',
    args: [
      '--v=2',
      `--proxy-server-host=${cluster.otherAddress}`,
      `--proxy-server-port=${agentPort}`,
      `--ca-cert=${pki.ca.cert}`,
      `--agent-cert=${cert}`,
      `--agent-key=${key}`,
      '--health-server-host=127.0.0.1',
      `--health-server-port=${8200 + number}`,
      '--admin-bind-address=127.0.0.1',
      `--admin-server-port=${8300 + number}`,
    ],
  };
}

async function end(program: Program, signal: NodeJS.Signals): Promise<void> {
  program.kill(signal);
  await program.exited;
}
