import { Condition } from '../base/condition.ts';
import { sleep } from '../base/sleep.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import type { AdmittedClient } from './admitted-client.ts';
import { AgeLimits } from './age-limits.ts';
import { AgentConnection } from './agent-connection.ts';
import type { AgentRelay } from './agent-relay.ts';
import { DialerConnection, type DialerRelay } from './dialer-connection.ts';
import { isOtherProcess, processName, type AgentRecord } from './directory.ts';
import type { RelayAccess } from './relay-access.ts';
import { RelayBacklog } from './relay-backlog.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import { Router, type Route, type RouteRequest } from './router.ts';
import { SharedIds } from './shared-ids.ts';
import type { AgentSnapshot, DialerSnapshot } from './snapshots.ts';
import { clusterStatuses, type BrokerStatus } from './status.ts';
import type { TunnelName } from './tunnel-name.ts';
import { TunnelTable } from './tunnel-table.ts';

/**
 * The middle of a broker: agents' tunnels on one side, dialers' links on the other, and session
 * numbers between them. It looks up a session number and passes bytes on. It keeps nothing about
 * streams.
 */
export class Relay implements AgentRelay<AgentConnection>, DialerRelay, RelayAccess {
  readonly options: RelayOptions;
  readonly ageLimits: AgeLimits;
  readonly #tunnels = new TunnelTable();
  readonly #router: Router;
  readonly #sharedIds: SharedIds;
  /** Tunnels whose agent has not sent HELLO yet. */
  readonly #newcomers = new Set<AgentConnection>();
  readonly #dialers = new Set<DialerConnection>();
  readonly #backlog = new RelayBacklog(relayLimits);
  /** The number of dialers' links, by `sessionsKey`. */
  readonly #sessionCounts = new Map<string, number>();
  readonly #dialersGone = new Condition(() => this.#dialers.size === 0);
  #draining = false;
  relayedBytes = 0;
  droppedFrames = 0;

  constructor(options: RelayOptions) {
    this.options = options;
    const { clock, maxTunnelAgeMs = relayLimits.maxTunnelAgeMs } = options;
    this.ageLimits = new AgeLimits(clock, maxTunnelAgeMs);
    this.#sharedIds = new SharedIds(options.log);
    this.#router = new Router(options, this.#tunnels);
    options.directory.onFenced((claim) => this.#onFenced(claim));
    options.directory.onOtherProcess((claim) => this.#tunnels.get(claim)?.checkAlive());
  }

  get draining(): boolean {
    return this.#draining;
  }

  get unready(): string | undefined {
    if (this.#draining) return 'draining';
    const { onlyCluster, forward } = this.options;
    // Another replica may have the agent, and this one forwards sessions to it.
    if (onlyCluster === undefined || forward !== undefined) return undefined;
    const tunnel = this.#tunnels.choose(onlyCluster, {});
    return tunnel === undefined ? 'no agent is connected' : undefined;
  }

  get dialerCount(): number {
    return this.#dialers.size;
  }

  get agentCount(): number {
    return this.#tunnels.size;
  }

  tunnelCount(cluster: string): number {
    let count = this.#tunnels.count(cluster);
    for (const newcomer of this.#newcomers) if (newcomer.cluster === cluster) count++;
    return count;
  }

  sessionCount(cluster: string, dialer: string): number {
    return this.#sessionCounts.get(sessionsKey({ cluster, dialer })) ?? 0;
  }

  holdsAnother(name: TunnelName): boolean {
    return this.#tunnels.get({ ...name, tunnel: name.tunnel === 0 ? 1 : 0 }) !== undefined;
  }

  /** The tunnels here whose agents have sent HELLO. */
  agents(): Iterable<AgentConnection> {
    return this.#tunnels;
  }

  status(): BrokerStatus {
    return {
      replica: this.options.replica,
      draining: this.#draining,
      dialers: this.dialerCount,
      relayedBytes: this.relayedBytes,
      clusters: clusterStatuses(this.#tunnels.statuses),
    };
  }

  /**
   * The broker has just started: for some seconds, dials wait for agents that have not come back
   * yet.
   */
  expectAgents(): void {
    this.#router.expectAgents();
  }

  /** Takes the link of a client whose credential was accepted. */
  admit(link: AttachableLink, client: AdmittedClient): void {
    if (client.kind === 'dialer') {
      this.#addDialer(link, new DialerConnection(this, link, client));
      return;
    }
    const agent = new AgentConnection(this, link, client);
    this.#newcomers.add(agent);
    link.attach(agent);
  }

  /**
   * Takes back a tunnel that outlived an earlier relay, from what that relay gave to
   * `RelayOptions.onSnapshot`. The directory has its claim already.
   */
  restoreAgent(link: AttachableLink, snapshot: AgentSnapshot): void {
    const agent = new AgentConnection(this, link, snapshot, snapshot);
    link.attach(agent);
    this.#tunnels.add(agent);
  }

  /** Takes back a dialer's link, after all tunnels. A link whose tunnel is gone is closed. */
  restoreDialer(link: AttachableLink, snapshot: DialerSnapshot): void {
    const agent = this.#tunnels.get(snapshot);
    if (agent?.claim.epoch !== snapshot.epoch) {
      const sentence = `the agent of cluster ${snapshot.cluster} was lost`;
      return link.close(new TunnelError('agent_lost', sentence));
    }
    const { session } = snapshot;
    this.#addDialer(link, new DialerConnection(this, link, snapshot, { agent, session }));
  }

  #addDialer(link: AttachableLink, dialer: DialerConnection): void {
    const key = sessionsKey(dialer);
    this.#dialers.add(dialer);
    this.#sessionCounts.set(key, (this.#sessionCounts.get(key) ?? 0) + 1);
    link.attach(dialer);
  }

  /** The agent has sent HELLO. Sessions find its tunnel once the claim is made. */
  register(agent: AgentConnection): void {
    this.#newcomers.delete(agent);
    const replaced = this.#tunnels.add(agent);
    this.#router.onAgentConnected(agent);
    for (const other of this.#tunnels.of(agent.cluster)) {
      if (isOtherProcess(other, agent)) other.checkAlive();
    }
    // A tunnel that drains closes when its sessions have moved.
    if (replaced === undefined || replaced.draining) return;
    const sentence = `agent ${agent.agent} connected again, this tunnel is replaced`;
    replaced.link.close(new TunnelError('agent_lost', sentence));
  }

  /** The tunnel is gone. Idempotent, and without effect on a newer tunnel of the same name. */
  unregister(agent: AgentConnection): void {
    this.#newcomers.delete(agent);
    if (this.#tunnels.delete(agent)) this.#router.onAgentLost(agent);
  }

  /** New streams no longer go to standby agents. Their open streams stay. */
  onAgentEstablished({ cluster, isStandby }: AgentConnection): void {
    if (isStandby) return;
    for (const other of this.#tunnels.of(cluster)) {
      if (other.isStandby) other.sessions.sendGoAway(0, 'agent');
    }
  }

  onAgentLeaving(agent: AgentConnection): void {
    this.#router.onAgentLost(agent);
  }

  onSharedId(agent: AgentConnection): void {
    this.#sharedIds.add(agent);
  }

  onDialerClosed(dialer: DialerConnection): void {
    if (this.#dialers.delete(dialer)) {
      const key = sessionsKey(dialer);
      const others = (this.#sessionCounts.get(key) ?? 1) - 1;
      if (others > 0) this.#sessionCounts.set(key, others);
      else this.#sessionCounts.delete(key);
    }
    this.#dialersGone.changed();
  }

  hasOtherAgents(agent: AgentConnection): boolean {
    return this.#tunnels.hasOtherAgents(agent);
  }

  countOtherAgents(agent: AgentConnection): number {
    return this.#tunnels.countOtherAgents(agent);
  }

  /** @throws TunnelError as `Router.route` does */
  route(request: RouteRequest, signal: AbortSignal): Promise<Route> {
    return this.#router.route(request, signal);
  }

  /** Passes a frame on. A receiver whose backlog exceeds its limits loses its link. */
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.relayedBytes += payload.length;
    link.sendCopy(type, session, stream, payload);
    this.#backlog.given(link, payload.length);
  }

  /**
   * Drains the broker: new sessions go elsewhere, agents and dialers are told to move, and the
   * relay waits until the dialers have left. Then, or when `signal` aborts, it closes the links
   * that remain.
   *
   * @param deadlineMs the time in which sessions must move, in milliseconds, as GOAWAY tells it
   * @param localUsers resolves when dialers of this process open no more sessions
   */
  async drain(
    signal: AbortSignal,
    deadlineMs: number,
    localUsers?: Promise<unknown>,
  ): Promise<void> {
    this.#stopAccepting();
    for (const agent of this.agents()) agent.retire(deadlineMs);
    // Dialers whose agent is at another replica do not learn it from a tunnel here.
    for (const dialer of this.#dialers) {
      if (dialer.isForwarding) dialer.sendGoAway(deadlineMs, 'broker');
    }
    await localUsers;
    await this.#dialersGone.wait(signal);
    await this.#agentsMoved(signal);
    this.close();
  }

  /**
   * Waits until the agents here have a tunnel to another replica. Without other replicas they never
   * will.
   */
  async #agentsMoved(signal: AbortSignal): Promise<void> {
    if (this.options.forward === undefined) return;
    const { clock } = this.options;
    const giveUpAtMs = clock.now() + relayLimits.agentsLeaveMs;
    let waiting = [...this.#tunnels];
    while (waiting.length > 0 && !signal.aborted && clock.now() < giveUpAtMs) {
      const moved = await Promise.all(waiting.map((agent) => this.#hasMoved(agent)));
      waiting = waiting.filter((_, at) => !moved[at]);
      if (waiting.length === 0) return;
      await sleep(clock, relayLimits.agentsLeavePollMs, signal).catch(() => {});
    }
  }

  async #hasMoved(agent: AgentConnection): Promise<boolean> {
    // A standby agent is in this process, and moves with it.
    if (agent.closed || agent.isStandby) return true;
    const { directory, replica } = this.options;
    const records = await directory.locate(agent.cluster).catch(() => []);
    const name = processName(agent);
    return records.some(
      (record) => processName(record) === name && record.replica !== replica && !record.retiring,
    );
  }

  /**
   * Another replica has a newer tunnel of the same name. So the tunnel here is dead, even if it has
   * not noticed yet.
   */
  #onFenced(claim: AgentRecord): void {
    const agent = this.#tunnels.get(claim);
    // A tunnel that drains has told its agent to connect elsewhere, and its streams are moving.
    if (agent === undefined || agent.draining || agent.claim.epoch !== claim.epoch) return;
    const sentence = `agent ${claim.agent} connected again elsewhere, this tunnel is replaced`;
    agent.link.close(new TunnelError('agent_lost', sentence));
  }

  /** Newcomers have no sessions to lose, and after a HELLO now no session would find them. */
  #stopAccepting(): void {
    this.#draining = true;
    this.#router.drain();
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const { link } of this.#newcomers) link.close(error);
  }

  close(): void {
    this.#stopAccepting();
    const error = new TunnelError('draining', 'this broker is shutting down');
    for (const { link } of [...this.#dialers, ...this.agents()]) link.close(error);
  }
}

function sessionsKey(of: { readonly cluster: string; readonly dialer: string }): string {
  // The name of a cluster has no slash.
  return `${of.cluster}/${of.dialer}`;
}
