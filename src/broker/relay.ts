import { sleep } from '../base/sleep.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import { AgentConnection, type AgentRelay } from './agent-connection.ts';
import type { AgentSnapshot } from './tunnel-name.ts';
import { DialerConnection, type DialerRelay, type DialerSnapshot } from './dialer-connection.ts';
import { isOtherProcess, processName, type AgentRecord } from './directory.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import { Router, type Route, type RouteRequest } from './router.ts';
import { RelayBacklog } from './relay-backlog.ts';
import { TunnelTable } from './tunnel-table.ts';

/** After so many it begins to tell again. */
const maxSharedIds = 1_000;

/**
 * The broker's middle: agents' tunnels on one side, dialers' links on the other, and a table of session numbers between
 * them. It keeps nothing about streams: it looks a session number up and passes bytes on.
 */
export class Relay implements AgentRelay, DialerRelay {
  readonly options: RelayOptions;
  readonly #tunnels = new TunnelTable();
  readonly #router: Router;
  /** Agents, by cluster and id, of which two processes were seen: each is told of once. */
  readonly #sharedIds = new Set<string>();
  /** Tunnels that have not said HELLO yet. */
  readonly #newcomers = new Set<AgentConnection>();
  readonly #dialers = new Set<DialerConnection>();
  readonly #backlog = new RelayBacklog(relayLimits);
  /** How many of them each dialer has for each cluster, by `sessionsKey`. */
  readonly #sessionCounts = new Map<string, number>();
  #draining = false;
  #emptied: (() => void)[] = [];
  relayedBytes = 0;
  droppedFrames = 0;

  constructor(options: RelayOptions) {
    this.options = options;
    this.#router = new Router(options, this.#tunnels);
    options.directory.onFenced((claim) => this.#onFenced(claim));
    options.directory.onOtherProcess((claim) => this.#tunnels.get(claim)?.checkAlive());
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Why nobody should be sent here, in a sentence without names; undefined: somebody may. */
  get unready(): string | undefined {
    if (this.#draining) return 'draining';
    const { onlyCluster, forward } = this.options;
    // Another replica may have the agent, and sessions are sent on.
    if (onlyCluster === undefined || forward !== undefined) return undefined;
    return this.#tunnels.choose(onlyCluster, undefined) === undefined
      ? 'no agent is connected'
      : undefined;
  }

  get dialerCount(): number {
    return this.#dialers.size;
  }

  get agentCount(): number {
    return this.#tunnels.size;
  }

  /** One entry per agent whose tunnel is here. */
  agents(): Iterable<AgentConnection> {
    return this.#tunnels;
  }

  /** The broker has just started: dials wait some seconds for agents that have not come back yet. */
  expectAgents(): void {
    this.#router.expectAgents();
  }

  /**
   * Takes an agent's tunnel; who it speaks for has been proven.
   *
   * @param instance tells processes with the same agent id apart; undefined: the agent does not say
   */
  admitAgent(
    link: AttachableLink,
    cluster: string,
    agent: string,
    tunnel: number,
    instance?: string,
  ): void {
    const port = new AgentConnection(this, link, { cluster, agent, instance, tunnel });
    this.#newcomers.add(port);
    link.attach(port);
  }

  /** Tunnels of a cluster here, also those that have not said HELLO. */
  tunnelCount(cluster: string): number {
    let count = this.#tunnels.count(cluster);
    for (const port of this.#newcomers) if (port.cluster === cluster) count++;
    return count;
  }

  /** Links that `dialer` has here for its sessions with `cluster`. */
  sessionCount(cluster: string, dialer: string): number {
    return this.#sessionCounts.get(sessionsKey({ cluster, dialer })) ?? 0;
  }

  /** Whether the agent's process has another tunnel here already: a second one belongs on another replica. */
  holdsAnother(cluster: string, agent: string, tunnel: number, instance?: string): boolean {
    const other = { cluster, agent, instance, tunnel: tunnel === 0 ? 1 : 0 };
    return this.#tunnels.get(other) !== undefined;
  }

  /**
   * Takes a dialer's link to a cluster; who it is has been proven.
   *
   * @param forwarded another replica sent it here: it is not sent on
   */
  admitDialer(link: AttachableLink, cluster: string, dialer: string, forwarded = false): void {
    this.#addDialer(link, new DialerConnection(this, link, { cluster, dialer, forwarded }));
  }

  /** Takes back a tunnel that outlived an earlier relay, as `RelayOptions.onSnapshot` was told; the directory has its claim. */
  restoreAgent(link: AttachableLink, kept: AgentSnapshot): void {
    const port = new AgentConnection(this, link, kept, kept);
    link.attach(port);
    this.#tunnels.add(port);
  }

  /** Takes back a dialer's link; the tunnels have been taken back before. One whose tunnel is gone is closed. */
  restoreDialer(link: AttachableLink, kept: DialerSnapshot): void {
    const agent = this.#tunnels.get(kept);
    if (agent?.epoch !== kept.epoch) {
      const sentence = `the agent of cluster ${kept.cluster} was lost`;
      return link.close(new TunnelError('agent_lost', sentence));
    }
    this.#addDialer(link, new DialerConnection(this, link, kept, { agent, session: kept.session }));
  }

  #addDialer(link: AttachableLink, port: DialerConnection): void {
    const key = sessionsKey(port);
    this.#dialers.add(port);
    this.#sessionCounts.set(key, (this.#sessionCounts.get(key) ?? 0) + 1);
    link.attach(port);
  }

  /** The agent has said HELLO: it can be found once its claim is made. */
  register(port: AgentConnection): void {
    this.#newcomers.delete(port);
    const before = this.#tunnels.add(port);
    this.#router.onAgentConnected(port);
    for (const other of this.#tunnels.of(port.cluster)) {
      if (isOtherProcess(other, port)) other.checkAlive();
    }
    // One that retires goes when its sessions have moved.
    if (before === undefined || before.draining) return;
    const sentence = `agent ${port.agent} connected again, this tunnel is replaced`;
    before.link.close(new TunnelError('agent_lost', sentence));
  }

  /** The tunnel is gone. Idempotent, and of no effect on a newer tunnel of the same agent. */
  unregister(port: AgentConnection): void {
    this.#newcomers.delete(port);
    if (this.#tunnels.delete(port)) this.#router.onAgentLost(port);
  }

  onAgentLeaving(port: AgentConnection): void {
    this.#router.onAgentLost(port);
  }

  onSharedId({ cluster, agent }: AgentConnection): void {
    const name = `${cluster}/${agent}`;
    if (this.#sharedIds.has(name)) return;
    if (this.#sharedIds.size >= maxSharedIds) this.#sharedIds.clear();
    this.#sharedIds.add(name);
    const reason = 'they work side by side; give each process an id of its own (--agent-id)';
    this.options.log.warn('two processes have the same agent id', { cluster, agent, reason });
  }

  onDialerClosed(port: DialerConnection): void {
    if (this.#dialers.delete(port)) {
      const key = sessionsKey(port);
      const others = (this.#sessionCounts.get(key) ?? 1) - 1;
      if (others > 0) this.#sessionCounts.set(key, others);
      else this.#sessionCounts.delete(key);
    }
    if (this.#dialers.size > 0) return;
    const waiters = this.#emptied;
    this.#emptied = [];
    for (const resolve of waiters) resolve();
  }

  /** @throws TunnelError as `Router.route` does */
  route(wish: RouteRequest, signal: AbortSignal): Promise<Route> {
    return this.#router.route(wish, signal);
  }

  /** Passes a frame on; the receiver of a backlog beyond every window is in breach and loses its link. */
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.relayedBytes += payload.length;
    link.sendCopy(type, session, stream, payload);
    this.#backlog.given(link, payload.length);
  }

  /**
   * Stops being found, tells both sides to go elsewhere, and waits until the dialers have left; then, or when `signal`
   * aborts, closes what is left.
   */
  async drain(signal: AbortSignal, deadlineMs: number): Promise<void> {
    this.#draining = true;
    this.#router.drain();
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
    await this.#agentsSettle(signal);
    this.close();
  }

  /** Waits until the agents here have a tunnel elsewhere; where there is no other replica they never will. */
  async #agentsSettle(signal: AbortSignal): Promise<void> {
    if (this.options.forward === undefined) return;
    const { clock } = this.options;
    const giveUpAtMs = clock.now() + relayLimits.agentsLeaveMs;
    let waiting = [...this.#tunnels];
    while (waiting.length > 0 && !signal.aborted && clock.now() < giveUpAtMs) {
      const settled = await Promise.all(waiting.map((port) => this.#isSettled(port)));
      waiting = waiting.filter((_, at) => !settled[at]);
      if (waiting.length === 0) return;
      await sleep(clock, relayLimits.agentsLeavePollMs, signal).catch(() => {});
    }
  }

  async #isSettled(port: AgentConnection): Promise<boolean> {
    if (port.gone) return true;
    const { directory, replica } = this.options;
    const records = await directory.locate(port.cluster).catch(() => []);
    const name = processName(port);
    return records.some(
      (record) => processName(record) === name && record.replica !== replica && !record.retiring,
    );
  }

  /** A newer tunnel of an agent stands elsewhere: the one here is dead, whether it has noticed or not. */
  #onFenced(claim: AgentRecord): void {
    const port = this.#tunnels.get(claim);
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
    this.#router.drain();
    this.#closeNewcomers();
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const dialer of this.#dialers) dialer.link.close(error);
    for (const agent of this.agents()) agent.link.close(error);
  }
}

function sessionsKey({ cluster, dialer }: Pick<DialerConnection, 'cluster' | 'dialer'>): string {
  // The name of a cluster has no slash.
  return `${cluster}/${dialer}`;
}
