import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import type { ReloadedFiles } from '../base/files/reloaded-files.ts';
import type { Logger } from '../base/log/logger.ts';
import type { MetricsGroup } from '../base/metrics/metrics.ts';
import { defaultProcessBudgetBytes } from '../tunnel/limits.ts';
import { SlabPool } from '../tunnel/slab.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import type { Front, StartFront } from '../konnectivity/front.ts';
import { startFront } from '../konnectivity/front-listener.ts';
import { PacketBufferPool } from '../konnectivity/packet-buffer.ts';
import { PacketCounts } from '../konnectivity/packet-counts.ts';
import { openTlsFiles, type TlsMaterial } from '../konnectivity/tls-files.ts';
import {
  type AgentReviewers,
  type AuthenticateAgent,
  authenticatorOf,
} from './agent-authenticator.ts';
import { type AcceptedAgent, AgentCall } from './agent-call.ts';
import {
  ClusterAgents,
  type ClustersContext,
  type ConnectPresentedAgent,
} from './cluster-agents.ts';
import { ConnectedAgent } from './connected-agent.ts';
import {
  defaultKonnectivityAgentsLimits,
  type KonnectivityAgentsLimits,
  type KonnectivityAgentsOptions,
} from './options.ts';
import { ReviewLimit } from './review-limit.ts';
import { StandardAgentError } from './standard-agent-error.ts';

export interface KonnectivityAgentsParts extends AgentReviewers {
  /** Connects the agents of a cluster to a broker, as one agent of the ordinary kind. */
  readonly connect: ConnectPresentedAgent;
  /** Takes connections of agents that do not speak gRPC, after their TLS handshake. */
  readonly acceptSocket?: ((socket: Socket) => void) | undefined;
  readonly log: Logger;
  readonly metrics?: Pick<MetricsGroup, 'gauge' | 'counter'>;
  /** Counts the packets of agents (default: the listener's own, which are not published). */
  readonly packets?: PacketCounts | undefined;
  readonly clock?: Clock;
  /** Overrides of `defaultKonnectivityAgentsLimits`. */
  readonly limits?: Partial<KonnectivityAgentsLimits>;
  /** The implementation of HTTP/2 (default: our own). */
  readonly startFront?: StartFront;
}

export interface RunningKonnectivityAgents extends AsyncDisposable {
  /** `host:port` of the listener. */
  readonly address: string;
  /** Agents that are connected. Connections with one agent id count once. */
  readonly agentCount: number;
  /**
   * Takes no new agents and waits until the open connections have ended. Then, or when `signal`
   * aborts, ends everything.
   *
   * @param users the drains of listeners whose clients use the agents, with the same `signal`. Dials
   *   are served until they have ended (default: there are none).
   */
  drain(signal: AbortSignal, users?: Promise<unknown>): Promise<void>;
  /** Disconnects all agents. Idempotent. */
  close(): Promise<void>;
}

/**
 * Accepts standard konnectivity agents (`/AgentService/Connect`).
 *
 * @throws KonnectivityError `invalid_options`, `listen_failed`
 */
export async function startKonnectivityAgents(
  options: KonnectivityAgentsOptions,
  parts: KonnectivityAgentsParts,
): Promise<RunningKonnectivityAgents> {
  const agents = new KonnectivityAgents(options, parts);
  try {
    await agents.listen();
  } catch (error) {
    await agents.close();
    throw error;
  }
  return agents;
}

class KonnectivityAgents implements RunningKonnectivityAgents {
  readonly #options: KonnectivityAgentsOptions;
  readonly #parts: KonnectivityAgentsParts;
  readonly #authenticate: AuthenticateAgent;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limits: KonnectivityAgentsLimits;
  readonly #pool = new PacketBufferPool();
  readonly #packets: PacketCounts;
  readonly #context: ClustersContext;
  readonly #clusters = new Map<string, ClusterAgents>();
  readonly #calls = new Set<AgentCall>();
  readonly #refused: (code: string) => void;
  readonly #closed: (reason: string) => void;
  readonly #isIdle = new Condition(() => this.#streamCount === 0);
  #front: Front | undefined;
  #tls: ReloadedFiles<TlsMaterial> | undefined;

  constructor(options: KonnectivityAgentsOptions, parts: KonnectivityAgentsParts) {
    this.#options = options;
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    this.#packets = parts.packets ?? new PacketCounts();
    this.#log = parts.log.child({ subsystem: 'konnectivity-agents' });
    this.#limits = { ...defaultKonnectivityAgentsLimits, ...parts.limits };
    this.#authenticate = authenticatorOf(options, parts, new ReviewLimit(this.#limits));
    const { metrics = noMetrics } = parts;
    const dialFailed = metrics.counter(
      'failed_dials',
      'Dials that standard agents could not make, by code',
      'code',
    );
    this.#refused = metrics.counter(
      'refused_agents',
      'Calls of standard agents that were refused, by code',
      'code',
    );
    this.#closed = metrics.counter(
      'closed_connections',
      'Connections of standard agents that the limits closed, by reason',
      'reason',
    );
    this.#context = {
      connect: parts.connect,
      agentName: `konnectivity-${crypto.randomUUID().slice(0, 8)}`,
      strategies: options.strategies,
      clock: this.#clock,
      limits: this.#limits,
      log: this.#log,
      pool: new SlabPool(),
      budget: new WindowBudget(defaultProcessBudgetBytes),
      grantBudget: new WindowBudget(defaultProcessBudgetBytes),
      dialFailed: ({ code }) => dialFailed(code),
      onStreamEnded: () => this.#isIdle.changed(),
      onEmpty: (cluster) => {
        if (this.#clusters.get(cluster.cluster) === cluster) this.#clusters.delete(cluster.cluster);
      },
    };
    this.#exposeGauges(metrics);
  }

  get address(): string {
    return this.#front!.address;
  }

  get agentCount(): number {
    return this.#sum(({ isDuplicate }) => (isDuplicate ? 0 : 1));
  }

  async listen(): Promise<void> {
    const { listen, tls, tlsPolicy, serverId, serverCount } = this.#options;
    const service = "konnectivity agents' listener";
    const common = { clock: this.#clock, log: this.#log };
    this.#tls = await openTlsFiles(tls, { ...common, choice: tlsPolicy, service });
    const context = {
      authenticate: this.#authenticate,
      serverId,
      serverCount,
      maxAgentIdLength: this.#limits.maxAgentIdLength,
      log: this.#log,
      accept: (agent: AcceptedAgent) => this.#accept(agent),
      refused: ({ code }: StandardAgentError) => this.#refused(code),
      calls: this.#calls,
    };
    const start = this.#parts.startFront ?? startFront;
    const front = await start({
      ...common,
      listen,
      tls: this.#tls.value,
      limits: this.#limits,
      methods: new Map([['/AgentService/Connect', (stream) => new AgentCall(context, stream)]]),
      refuses: () => undefined,
      clientRefused: () => {},
      acceptSocket: this.#parts.acceptSocket,
      connectionClosed: this.#closed,
    });
    this.#front = front;
    this.#tls.onChange((material) => front.setTls(material));
    this.#log.info('konnectivity agents are accepted', {
      address: front.address,
      name: serverId,
    });
  }

  async drain(signal: AbortSignal, users?: Promise<unknown>): Promise<void> {
    this.#front?.stopAccepting();
    this.#log.info('konnectivity agents drain', { streams: this.#streamCount });
    await users;
    await this.#isIdle.wait(signal);
    await this.close();
  }

  async close(): Promise<void> {
    this.#tls?.close();
    const error = new StandardAgentError('draining', 'the server is shutting down');
    for (const call of this.#calls) call.refuse(error);
    for (const cluster of this.#clusters.values()) cluster.close(error);
    await this.#front?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #streamCount(): number {
    let count = 0;
    for (const { streamCount } of this.#clusters.values()) count += streamCount;
    return count;
  }

  #accept({ front, agentId, identifiers, identity }: AcceptedAgent): ConnectedAgent {
    const { cluster: name, registered } = identity;
    const cluster =
      this.#clusters.get(name) ?? new ClusterAgents(name, registered === true, this.#context);
    const { peer } = front;
    const agent = new ConnectedAgent({
      front,
      agentId,
      identifiers,
      clock: this.#clock,
      limits: this.#limits,
      pool: this.#pool,
      packets: this.#packets,
      log: this.#log.child({ cluster: name, agent: agentId, peer }),
      onRemoved: (removed) => cluster.remove(removed),
      onEnded: () => cluster.endIfEmpty(),
    });
    cluster.add(agent);
    this.#clusters.set(name, cluster);
    this.#log.info('konnectivity agent connected', { cluster: name, agent: agentId, peer });
    return agent;
  }

  #sum(of: (agent: ConnectedAgent) => number): number {
    let sum = 0;
    for (const { agents } of this.#clusters.values()) for (const agent of agents) sum += of(agent);
    return sum;
  }

  #exposeGauges(metrics: Pick<MetricsGroup, 'gauge'>): void {
    metrics.gauge('agents', 'Standard agents that are connected', () => this.agentCount);
    metrics.gauge('draining_agents', 'Standard agents that drain', () =>
      this.#sum(({ isDraining }) => (isDraining ? 1 : 0)),
    );
    metrics.gauge('pending_dials', 'Dials that wait for an answer of a standard agent', () =>
      this.#sum(({ pendingDials }) => pendingDials),
    );
    metrics.gauge('connections', 'Open connections of standard agents', () =>
      this.#sum(({ connections }) => connections),
    );
    metrics.gauge(
      'backlog_bytes',
      'Bytes of standard agents that wait for clients beyond the room of their streams',
      () => this.#sum(({ backlogBytes }) => backlogBytes),
    );
    metrics.gauge(
      'tls_files_stale',
      '1 while certificate, key or client CA have changed and cannot be used',
      () => (this.#tls?.stale === true ? 1 : 0),
    );
  }
}

const noMetrics: Pick<MetricsGroup, 'gauge' | 'counter'> = {
  gauge() {},
  counter: () => () => {},
};
