import { TunnelError } from '../tunnel/errors.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import { AgentPort, portKey, type AgentHub, type KeptAgent } from './agent-port.ts';
import {
  DialerPort,
  type DialerHub,
  type KeptDialer,
  type Place,
  type PlaceWish,
} from './dialer-port.ts';
import type { AgentRecord } from './directory.ts';
import { hubLimits, type HubOptions } from './hub-options.ts';

/**
 * The broker's middle: agents' tunnels on one side, dialers' links on the other, and a table of session numbers between
 * them. It keeps nothing about streams: it looks a session number up and passes bytes on.
 */
export class Hub implements AgentHub, DialerHub {
  readonly options: HubOptions;
  /** Tunnels that have said HELLO, by cluster, and there by `AgentPort.key`. */
  readonly #agents = new Map<string, Map<string, AgentPort>>();
  /** Tunnels that have not said HELLO yet. */
  readonly #newcomers = new Set<AgentPort>();
  readonly #dialers = new Set<DialerPort>();
  /** When a session to a cluster was placed last; for those whose agents move. */
  readonly #seenAtMs = new Map<string, number>();
  #draining = false;
  #emptied: (() => void)[] = [];
  readonly #agentsGone: (() => void)[] = [];
  relayedBytes = 0;
  droppedFrames = 0;

  constructor(options: HubOptions) {
    this.options = options;
    options.directory.onFenced((claim) => this.#onFenced(claim));
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
  admitAgent(link: AttachableLink, cluster: string, agent: string, tunnel: number): void {
    const port = new AgentPort(this, link, { cluster, agent, tunnel });
    this.#newcomers.add(port);
    link.attach(port);
  }

  /** Whether the agent has another tunnel here already: a second one belongs on another replica. */
  holdsAnother(cluster: string, agent: string, tunnel: number): boolean {
    const ports = this.#agents.get(cluster)?.values() ?? [];
    for (const port of ports) if (port.agent === agent && port.tunnel !== tunnel) return true;
    return false;
  }

  /**
   * Takes a dialer's link to a cluster; who it is has been proven.
   *
   * @param forwarded another replica sent it here: it is not sent on
   */
  admitDialer(link: AttachableLink, cluster: string, dialer: string, forwarded = false): void {
    const port = new DialerPort(this, link, { cluster, dialer, forwarded });
    this.#dialers.add(port);
    link.attach(port);
  }

  /** Takes back a tunnel that outlived an earlier hub, as `HubOptions.keep` was told; the directory has its claim. */
  restoreAgent(link: AttachableLink, kept: KeptAgent): void {
    const port = new AgentPort(this, link, kept, kept);
    link.attach(port);
    this.register(port);
  }

  /** Takes back a dialer's link; the tunnels have been taken back before. One whose tunnel is gone is closed. */
  restoreDialer(link: AttachableLink, kept: KeptDialer): void {
    const agent = this.#agents.get(kept.cluster)?.get(portKey(kept));
    if (agent?.epoch !== kept.epoch) {
      const sentence = `the agent of cluster ${kept.cluster} was lost`;
      return link.close(new TunnelError('agent_lost', sentence));
    }
    const port = new DialerPort(this, link, kept, { agent, session: kept.session });
    this.#dialers.add(port);
    link.attach(port);
  }

  /** The agent has said HELLO: it can be found once its claim is made. */
  register(port: AgentPort): void {
    this.#newcomers.delete(port);
    const agents = this.#agents.get(port.cluster) ?? new Map<string, AgentPort>();
    const before = agents.get(port.key);
    agents.set(port.key, port);
    this.#agents.set(port.cluster, agents);
    // One that retires goes when its sessions have moved.
    if (before === undefined || before.draining) return;
    const sentence = `agent ${port.agent} connected again, this tunnel is replaced`;
    before.link.close(new TunnelError('agent_lost', sentence));
  }

  /** The tunnel is gone. Idempotent, and of no effect on a newer tunnel of the same agent. */
  unregister(port: AgentPort): void {
    this.#newcomers.delete(port);
    const agents = this.#agents.get(port.cluster);
    if (agents?.get(port.key) !== port) return;
    agents.delete(port.key);
    if (agents.size > 0) return;
    this.#agents.delete(port.cluster);
    if (this.#agents.size === 0) for (const resolve of this.#agentsGone.splice(0)) resolve();
  }

  dialerGone(port: DialerPort): void {
    this.#dialers.delete(port);
    if (this.#dialers.size > 0) return;
    const waiters = this.#emptied;
    this.#emptied = [];
    for (const resolve of waiters) resolve();
  }

  /**
   * Where a session to `cluster` shall go: of the tunnels here the one with the fewest sessions, else to the replica that holds
   * one. With `agent`, only to that agent: it has the session already.
   *
   * @throws TunnelError `no_agent`, or `draining` for a new session
   */
  async place(wish: PlaceWish): Promise<Place> {
    const { cluster, agent, forwarded } = wish;
    if (this.#draining && agent === undefined) {
      throw new TunnelError('draining', 'this broker is shutting down, dial again');
    }
    const { clock } = this.options;
    const seenMs = clock.now() - (this.#seenAtMs.get(cluster) ?? -Infinity);
    const mayWait =
      agent === undefined && !forwarded && seenMs < hubLimits.movingAgentMs.seenWithin;
    const giveUpAtMs = clock.now() + (mayWait ? hubLimits.movingAgentMs.wait : 0);
    for (;;) {
      const place = await this.#find(wish);
      if (place !== undefined) {
        this.#seen(cluster);
        return place;
      }
      if (clock.now() >= giveUpAtMs) break;
      // Its agents may be on their way from one replica to another.
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.setTimer(hubLimits.movingAgentMs.poll, resolve);
      await promise;
    }
    throw new TunnelError('no_agent', `no agent of cluster ${cluster} is connected`);
  }

  #seen(cluster: string): void {
    // The most recent last, so that the first one is the one to forget.
    this.#seenAtMs.delete(cluster);
    this.#seenAtMs.set(cluster, this.options.clock.now());
    if (this.#seenAtMs.size <= hubLimits.maxSeenClusters) return;
    const [oldest] = this.#seenAtMs.keys();
    this.#seenAtMs.delete(oldest!);
  }

  async #find({ cluster, agent, forwarded, except }: PlaceWish): Promise<Place | undefined> {
    const { directory, replica, forward } = this.options;
    // What is here is known better here than in any directory.
    const here = this.#leastLoaded(cluster, agent) ?? (await this.#leastLoadedSoon(cluster, agent));
    if (here !== undefined) return { here };
    let elsewhere: AgentRecord | undefined;
    for (const record of await directory.locate(cluster)) {
      if (agent !== undefined && record.agent !== agent) continue;
      // Here under another name: the session was asked for by the cluster's alias.
      const aliased = record.replica === replica && this.#leastLoaded(record.cluster, agent);
      if (aliased) return { here: aliased };
      if (record.replica !== replica && record.replica !== except) elsewhere ??= record;
    }
    const mayForward = forward !== undefined && !forwarded;
    return elsewhere !== undefined && mayForward ? { elsewhere } : undefined;
  }

  #leastLoaded(cluster: string, agent: string | undefined): AgentPort | undefined {
    let best: AgentPort | undefined;
    for (const port of this.#agents.get(cluster)?.values() ?? []) {
      // A tunnel that drains still takes back the sessions that it carried.
      if (!port.standing || (agent === undefined ? port.draining : port.agent !== agent)) continue;
      // Pings come every 20 s: it may be dead, and has only to be heard again.
      if ((port.link.silentMs ?? 0) > hubLimits.maxSilentMs) continue;
      if (best === undefined || port.sessionCount < best.sessionCount) best = port;
    }
    return best;
  }

  /** Once the tunnels stand that are being claimed. */
  async #leastLoadedSoon(
    cluster: string,
    agent: string | undefined,
  ): Promise<AgentPort | undefined> {
    const ports = this.#agents.get(cluster);
    if (ports === undefined) return undefined;
    await Promise.all(Array.from(ports.values(), ({ claimed }) => claimed));
    return this.#leastLoaded(cluster, agent);
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
    this.#closeNewcomers();
    for (const agent of this.agents()) agent.retire(deadlineMs);
    // Those whose agent is elsewhere, and whose link ends here.
    for (const dialer of this.#dialers)
      if (dialer.forwards) dialer.sendGoAway(deadlineMs, 'broker');
    if (this.#dialers.size > 0 && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#emptied.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
    }
    await this.#agentsLeft(signal);
    this.close();
  }

  /** An agent closes its tunnel here once another stands; where there is no other replica it never will. */
  async #agentsLeft(signal: AbortSignal): Promise<void> {
    if (this.agentCount === 0 || signal.aborted || this.options.forward === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#agentsGone.push(resolve);
    const timer = this.options.clock.setTimer(hubLimits.agentsLeaveMs, resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    timer.cancel();
  }

  /** A newer tunnel of an agent stands elsewhere: the one here is dead, whether it has noticed or not. */
  #onFenced(claim: AgentRecord): void {
    const port = this.#agents.get(claim.cluster)?.get(portKey(claim));
    // One that drains has told its agent to go elsewhere, and its streams are moving.
    if (port === undefined || port.draining || port.epoch !== claim.epoch) return;
    const sentence = `agent ${claim.agent} connected again elsewhere, this tunnel is replaced`;
    port.link.close(new TunnelError('agent_lost', sentence));
  }

  /** Nothing is lost with them, and one that said HELLO now would find nobody. */
  #closeNewcomers(): void {
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const { link } of this.#newcomers) link.close(error);
  }

  close(): void {
    this.#draining = true;
    this.#closeNewcomers();
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const dialer of this.#dialers) dialer.link.close(error);
    for (const agent of this.agents()) agent.link.close(error);
  }
}
