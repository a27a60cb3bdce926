import { AgentTunnel } from '../acceptor/agent-tunnel.ts';
import { SessionStore, type SessionStoreOptions } from '../acceptor/session-store.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { version } from '../base/version.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits } from '../tunnel/limits.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { refusedStream } from '../tunnel/refused-stream.ts';
import { Session } from '../tunnel/session.ts';
import type { SlabPool } from '../tunnel/slab.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import type { ConnectedAgent } from './connected-agent.ts';
import type { KonnectivityAgentsLimits } from './options.ts';
import { chooseAgent, type ProxyStrategy } from './proxy-strategy.ts';
import { RelayedStream, type StreamContext } from './relayed-stream.ts';
import { StandardAgentError } from './standard-agent-error.ts';

/** How the standard agents of a cluster appear to the broker: as one ordinary agent. */
export interface PresentedAgent {
  readonly cluster: string;
  readonly agent: string;
  /** Random, made when the first agent of the cluster connected. */
  readonly instance: string;
  readonly tunnel: number;
  /** The credential is a registration with the hub cluster, which can revoke it. */
  readonly registered?: true;
}

/**
 * Makes a link to the broker for the tunnel of a presented agent.
 *
 * @throws TunnelError `forbidden` the cluster may not connect; `draining`
 */
export type ConnectPresentedAgent = (agent: PresentedAgent) => AttachableLink;

/** What all clusters share. */
export interface ClustersContext {
  readonly connect: ConnectPresentedAgent;
  /** Names this process among the agents of a cluster. */
  readonly agentName: string;
  readonly strategies: readonly ProxyStrategy[];
  readonly clock: Clock;
  readonly limits: KonnectivityAgentsLimits;
  readonly log: Logger;
  readonly pool: SlabPool;
  readonly budget: WindowBudget;
  readonly grantBudget: WindowBudget;
  readonly dialFailed: (error: TunnelError) => void;
  /** A stream has ended. */
  readonly onStreamEnded: () => void;
  /** The last agent of the cluster has left. */
  readonly onEmpty: (cluster: ClusterAgents) => void;
}

/** How long after a lost tunnel a new one is made, in milliseconds. */
const reconnectMs = 1_000;

/**
 * The standard agents of one cluster. Towards the broker they are one agent of the ordinary kind,
 * which chooses one of them for each stream. So the broker's core knows nothing of konnectivity.
 */
export class ClusterAgents implements StreamContext {
  readonly cluster: string;
  readonly #context: ClustersContext;
  readonly #log: Logger;
  readonly #instance = crypto.randomUUID();
  readonly #isRegistered: boolean;
  // Agents of the cluster that read or send nothing use up the budgets of their cluster alone.
  readonly #budget: WindowBudget;
  readonly #grantBudget: WindowBudget;
  readonly #agents = new Set<ConnectedAgent>();
  readonly #streams = new Set<RelayedStream>();
  readonly #sessions: SessionStore;
  readonly #tunnels = new Set<AgentTunnel>();
  #nextTunnel = 0;
  #reconnectTimer: Timer | undefined;
  #hasEnded = false;

  /** @param isRegistered whether the hub cluster can revoke the credentials of the cluster */
  constructor(cluster: string, isRegistered: boolean, context: ClustersContext) {
    const { clock, log } = context;
    this.cluster = cluster;
    this.#isRegistered = isRegistered;
    this.#context = context;
    this.#log = log.child({ cluster });
    const { clusterBudgetBytes } = context.limits;
    this.#budget = new WindowBudget(clusterBudgetBytes, context.budget);
    this.#grantBudget = new WindowBudget(clusterBudgetBytes, context.grantBudget);
    this.#sessions = new SessionStore({
      clock,
      log: this.#log,
      resumeGraceMs: defaultLimits.resumeGraceMs,
      makeSession: (sessionLog, events) => this.#makeSession(sessionLog, events),
    });
  }

  get clock(): Clock {
    return this.#context.clock;
  }

  get limits(): KonnectivityAgentsLimits {
    return this.#context.limits;
  }

  get agents(): Iterable<ConnectedAgent> {
    return this.#agents;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /**
   * Adds an agent whose call has been accepted. With the first one, the cluster connects to the
   * broker.
   *
   * @throws StandardAgentError `too_many_agents`, `forbidden` or `draining`
   */
  add(agent: ConnectedAgent): void {
    const { maxAgentsPerCluster } = this.limits;
    if (this.#agents.size >= maxAgentsPerCluster) {
      const sentence = `cluster ${this.cluster} has ${maxAgentsPerCluster} agents, its limit`;
      throw new StandardAgentError('too_many_agents', sentence);
    }
    if (this.#tunnels.size === 0 && this.#reconnectTimer === undefined) this.#connect();
    agent.isDuplicate = this.#firstOf(agent.agentId) !== undefined;
    this.#agents.add(agent);
  }

  remove(agent: ConnectedAgent): void {
    this.#agents.delete(agent);
    const next = this.#firstOf(agent.agentId);
    if (next !== undefined) next.isDuplicate = false;
  }

  /** Ends the cluster's tunnel if it has no agent. Idempotent. */
  endIfEmpty(): void {
    if (this.#agents.size > 0) return;
    this.#end(new TunnelError('agent_lost', 'the last konnectivity agent of the cluster left'));
  }

  /** Disconnects all agents. Idempotent. */
  close(error: StandardAgentError): void {
    for (const agent of this.#agents) agent.end(error);
    this.endIfEmpty();
  }

  choose(host: string, except: ReadonlySet<unknown>): ConnectedAgent {
    const agent = chooseAgent(this.#agents, this.#context.strategies, host, except);
    if (agent !== undefined) return agent;
    if (this.#agents.size === 0 || except.size > 0) {
      const sentence = 'the konnectivity agent was lost before it answered the dial';
      throw new TunnelError('agent_lost', sentence);
    }
    for (const { isFull } of this.#agents) {
      if (!isFull) throw new TunnelError('no_agent', `no agent of the cluster serves ${host}`);
    }
    throw new TunnelError('overloaded', 'all agents of the cluster have as many dials as they may');
  }

  dialFailed(error: TunnelError): void {
    this.#context.dialFailed(error);
  }

  streamEnded(stream: RelayedStream): void {
    if (this.#streams.delete(stream)) this.#context.onStreamEnded();
  }

  #makeSession(log: Logger, events: Parameters<SessionStoreOptions['makeSession']>[1]): Session {
    const { clock, pool } = this.#context;
    return new Session({
      clock,
      limits: defaultLimits,
      pool,
      budget: this.#budget,
      grantBudget: this.#grantBudget,
      log,
      accept: (request, stream) => {
        const { target } = request;
        if (target.kind !== 'tcp') {
          const sentence = 'standard konnectivity agents connect to TCP targets only';
          stream.reset(new TunnelError('unsupported_target', sentence));
          return refusedStream;
        }
        const relayed = new RelayedStream(this, { ...request, target }, stream);
        this.#streams.add(relayed);
        return relayed;
      },
      ...events,
    });
  }

  #firstOf(agentId: string): ConnectedAgent | undefined {
    for (const agent of this.#agents) if (agent.agentId === agentId) return agent;
    return undefined;
  }

  /** @throws StandardAgentError the broker takes no agent of this cluster */
  #connect(): void {
    const { connect, agentName, clock } = this.#context;
    const number = this.#nextTunnel;
    let link: AttachableLink;
    try {
      link = connect({
        cluster: this.cluster,
        agent: agentName,
        instance: this.#instance,
        tunnel: number,
        ...(this.#isRegistered && { registered: true }),
      });
    } catch (thrown) {
      throw refusalOf(TunnelError.from(thrown));
    }
    this.#nextTunnel = 1 - number;
    const tunnel = new AgentTunnel(link, {
      software: `culvert-konnectivity-agents/${version}`,
      sessions: this.#sessions,
      onWelcome: () => {
        for (const other of this.#tunnels) if (other !== tunnel) other.leaveWhenEmpty();
      },
      // The broker wants the tunnel made again. If it drains, it takes no other one, and the old
      // tunnel carries its sessions as long as it can.
      onGoAway: (retryAfterMs) => {
        this.#reconnectTimer ??= clock.setTimer(retryAfterMs, () => this.#reconnect());
      },
      onClosed: (error) => this.#onTunnelClosed(tunnel, error),
    });
    this.#tunnels.add(tunnel);
  }

  #onTunnelClosed(tunnel: AgentTunnel, error: TunnelError | undefined): void {
    this.#tunnels.delete(tunnel);
    if (this.#hasEnded || this.#tunnels.size > 0 || this.#reconnectTimer !== undefined) return;
    if (error?.code === 'forbidden' || error?.code === 'draining') {
      return this.close(refusalOf(error));
    }
    this.#log.warn('tunnel of konnectivity agents was lost', {
      code: error?.code,
      error: error?.message,
    });
    this.#reconnectTimer = this.clock.setTimer(reconnectMs, () => this.#reconnect());
  }

  #reconnect(): void {
    this.#reconnectTimer = undefined;
    if (this.#hasEnded) return;
    try {
      this.#connect();
    } catch (thrown) {
      if (!(thrown instanceof StandardAgentError)) throw thrown;
      if (this.#tunnels.size === 0) this.close(thrown);
    }
  }

  #end(error: TunnelError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#reconnectTimer?.cancel();
    for (const tunnel of this.#tunnels) tunnel.leave(error);
    this.#sessions.close(error);
    this.#context.onEmpty(this);
  }
}

function refusalOf(error: TunnelError): StandardAgentError {
  const code = error.code === 'forbidden' ? 'forbidden' : 'draining';
  return new StandardAgentError(code, error.message, { cause: error });
}
