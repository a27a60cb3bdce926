import { TunnelError } from '../tunnel/errors.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import { AgentPort, type AgentHub } from './agent-port.ts';
import { DialerPort, type DialerHub } from './dialer-port.ts';
import { hubLimits, type HubOptions } from './hub-options.ts';

/**
 * The broker's middle: agents' tunnels on one side, dialers' links on the other, and a table of session numbers between
 * them. It keeps nothing about streams: it looks a session number up and passes bytes on.
 */
export class Hub implements AgentHub, DialerHub {
  readonly options: HubOptions;
  /** Tunnels that have said HELLO, by cluster and agent. */
  readonly #agents = new Map<string, Map<string, AgentPort>>();
  readonly #dialers = new Set<DialerPort>();
  #draining = false;
  #emptied: (() => void)[] = [];
  relayedBytes = 0;
  droppedFrames = 0;

  constructor(options: HubOptions) {
    this.options = options;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get dialerCount(): number {
    return this.#dialers.size;
  }

  get agentCount(): number {
    let count = 0;
    for (const agents of this.#agents.values()) count += agents.size;
    return count;
  }

  /** One entry per agent whose tunnel is here. */
  *agents(): Iterable<AgentPort> {
    for (const agents of this.#agents.values()) yield* agents.values();
  }

  /** Takes an agent's tunnel; who it speaks for has been proven. */
  admitAgent(link: AttachableLink, cluster: string, agent: string): void {
    link.attach(new AgentPort(this, link, cluster, agent));
  }

  /** Takes a dialer's link to a cluster; who it is has been proven. */
  admitDialer(link: AttachableLink, cluster: string, dialer: string): void {
    const port = new DialerPort(this, link, cluster, dialer);
    this.#dialers.add(port);
    link.attach(port);
  }

  /** The agent has said HELLO: from now on it can be found. */
  register(port: AgentPort): void {
    const agents = this.#agents.get(port.cluster) ?? new Map<string, AgentPort>();
    const before = agents.get(port.agent);
    agents.set(port.agent, port);
    this.#agents.set(port.cluster, agents);
    if (before === undefined) return;
    const sentence = `agent ${port.agent} connected again, this tunnel is replaced`;
    before.link.close(new TunnelError('agent_lost', sentence));
  }

  /** The tunnel is gone. Idempotent, and of no effect on a newer tunnel of the same agent. */
  unregister(port: AgentPort): void {
    const agents = this.#agents.get(port.cluster);
    if (agents?.get(port.agent) !== port) return;
    agents.delete(port.agent);
    if (agents.size === 0) this.#agents.delete(port.cluster);
  }

  dialerGone(port: DialerPort): void {
    this.#dialers.delete(port);
    if (this.#dialers.size > 0) return;
    const waiters = this.#emptied;
    this.#emptied = [];
    for (const resolve of waiters) resolve();
  }

  /**
   * The tunnel that a session to `cluster` shall use: of the agents found here the one with the fewest sessions, or the one
   * that has the session already.
   */
  async place(cluster: string, agent: string | undefined): Promise<AgentPort> {
    if (this.#draining)
      throw new TunnelError('draining', 'this broker is shutting down, dial again');
    let best: AgentPort | undefined;
    for (const record of await this.options.directory.locate(cluster)) {
      if (record.replica !== this.options.replica) continue;
      const port = this.#agents.get(record.cluster)?.get(record.agent);
      if (port === undefined) continue;
      if (agent === undefined ? port.draining : port.agent !== agent) continue;
      if (best === undefined || port.sessionCount < best.sessionCount) best = port;
    }
    if (best === undefined) {
      throw new TunnelError('no_agent', `no agent of cluster ${cluster} is connected`);
    }
    return best;
  }

  /** Passes a frame on; the receiver of a backlog beyond every window is in breach and loses its link. */
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.relayedBytes += payload.length;
    link.sendCopy(type, session, stream, payload);
    if (link.room > -hubLimits.maxBacklogBytes) return;
    const sentence = `more than ${hubLimits.maxBacklogBytes} bytes wait for ${link.peer}`;
    link.close(new TunnelError('overloaded', sentence));
  }

  /**
   * Stops being found, tells both sides to go elsewhere, and waits until the dialers have left; then, or when `signal`
   * aborts, closes what is left.
   */
  async drain(signal: AbortSignal, deadlineMs: number): Promise<void> {
    this.#draining = true;
    for (const agent of this.agents()) agent.sendGoAway(deadlineMs);
    for (const dialer of this.#dialers) dialer.sendGoAway(deadlineMs, 'broker');
    if (this.#dialers.size > 0 && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#emptied.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
    }
    this.close();
  }

  close(): void {
    this.#draining = true;
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const dialer of this.#dialers) dialer.link.close(error);
    for (const agent of this.agents()) agent.link.close(error);
  }
}
