import { type Clock, systemClock } from '../base/clock.ts';
import { clusterAlias } from '../base/names/cluster-alias.ts';
import { LastGoodCa } from '../base/tls/last-good-ca.ts';
import type { Logger } from '../base/log/logger.ts';
import { startStatusServer, type StatusServer } from '../base/server/status-server.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits, defaultProcessBudgetBytes } from '../tunnel/limits.ts';
import { Session } from '../tunnel/session.ts';
import { SlabPool } from '../tunnel/slab.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { agentMetrics } from './agent-metrics.ts';
import { BrokerClock } from './broker-clock.ts';
import { WebSocketConnector } from '../websocket/websocket-connector.ts';
import { BrokerConnector } from './broker-connector.ts';
import { BrokerRoutes } from './broker-route.ts';
import { connectClusters, type KubeClusters } from './kube-clusters.ts';
import { DestinationPolicy } from './destination-policy.ts';
import { LeaseRenewer } from './lease-renewer.ts';
import type { AgentOptions } from './options.ts';
import { SessionStore } from '../acceptor/session-store.ts';
import { TargetStreams } from './target-streams.ts';
import { TunnelReconnector } from './tunnel-reconnector.ts';

/** How long a broker may take to answer through a tunnel before it counts as silent, in milliseconds. */
const probeTimeoutMs = 10_000;

export interface RunningAgent extends AsyncDisposable {
  /** Resolves when a broker has taken the agent in for the first time. */
  readonly connected: Promise<void>;
  /** How many streams are open. */
  readonly streamCount: number;
  /** How many tunnels stand. */
  readonly tunnelCount: number;
  /** Where probes ask (`host:port`); undefined: nowhere. */
  readonly statusAddress: string | undefined;
  /** Takes no new sessions, lets streams end until `signal` aborts, then closes. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

export interface AgentParts {
  readonly log: Logger;
  /** Times the attempts to connect and the streams (default: the system's). */
  readonly clock?: Clock;
  /** The time of this machine in milliseconds since 1970 (default: the system's). */
  readonly wallClock?: () => number;
  /** The clusters whose API servers are needed (default: as the options say). */
  readonly clusters?: KubeClusters;
}

/** How long dialers get to hear that this agent goes, in milliseconds; most need one round trip. */
const leaveMs = 2_000;

/**
 * Starts an agent: it keeps a tunnel to the broker until it is closed, through any outage.
 *
 * @throws RangeError for a destination pattern that is none
 */
export async function startAgent(options: AgentOptions, parts: AgentParts): Promise<RunningAgent> {
  const alias = await clusterAlias(options.cluster);
  const policy = new DestinationPolicy({ ...options, clusterAlias: alias });
  const ca = new LastGoodCa('--ca-file', parts.log);
  const clusters = parts.clusters ?? (await connectClusters(options, ca, parts.log));
  const agent = new Agent(options, { policy, clusters, ca }, parts);
  try {
    await agent.listen();
  } catch (thrown) {
    await agent.close();
    throw thrown;
  }
  return agent;
}

interface OwnParts {
  readonly policy: DestinationPolicy;
  readonly clusters: KubeClusters;
  /** What --ca-file holds. */
  readonly ca: LastGoodCa;
}

class Agent implements RunningAgent {
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #pool = new SlabPool();
  readonly #budget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #grantBudget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #targets: TargetStreams;
  readonly #sessions: SessionStore;
  readonly #keepers: readonly TunnelReconnector[];
  readonly #stop = new AbortController();
  readonly #connected = Promise.withResolvers<void>();
  readonly #brokerClock: BrokerClock;
  readonly #connector: BrokerConnector;
  readonly #clusters: KubeClusters;
  readonly #ca: LastGoodCa;
  readonly #lease: LeaseRenewer | undefined;
  #status: StatusServer | undefined;
  readonly #running: Promise<unknown>;

  constructor(
    options: AgentOptions,
    { policy, clusters, ca }: OwnParts,
    { log, clock = systemClock, wallClock }: AgentParts,
  ) {
    this.#options = options;
    this.#clusters = clusters;
    this.#ca = ca;
    this.#clock = clock;
    this.#log = log.child({ cluster: options.cluster, agent: options.agentId });
    this.#brokerClock = new BrokerClock(this.#log, wallClock);
    const routes = new BrokerRoutes(options, clusters.hubConfig, ca, () => this.#brokerClock.now());
    this.#connector = new BrokerConnector(
      options,
      routes,
      this.#brokerClock,
      new WebSocketConnector(),
    );
    const { dialTimeoutMs } = options;
    this.#targets = new TargetStreams({ policy, dialTimeoutMs, clock, log: this.#log });
    this.#sessions = new SessionStore({
      clock,
      log: this.#log,
      resumeGraceMs: defaultLimits.resumeGraceMs,
      makeSession: (sessionLog, events) =>
        new Session({
          clock,
          limits: defaultLimits,
          pool: this.#pool,
          budget: this.#budget,
          grantBudget: this.#grantBudget,
          log: sessionLog,
          accept: (request, stream) => this.#targets.accept(request, stream),
          ...events,
        }),
    });
    // Nobody needs to wait for the first connection.
    this.#connected.promise.catch(() => {});
    const { signal } = this.#stop;
    this.#keepers = Array.from({ length: options.tunnels }, (_, tunnel) => this.#keeper(tunnel));
    const [first, ...others] = this.#keepers.map((keeper) => () => keeper.run(signal));
    // The others belong on other replicas, so the first one must stand before them.
    const rest = this.connected.then(() => Promise.all(others.map((run) => run())));
    this.#lease = this.#leaseKeeper();
    const lease = this.connected.then(() => this.#lease?.run(signal));
    this.#running = Promise.allSettled([first?.(), rest, lease]);
  }

  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  get streamCount(): number {
    return this.#sessions.streamCount;
  }

  get tunnelCount(): number {
    return this.#keepers.reduce((count, keeper) => count + keeper.establishedCount, 0);
  }

  get statusAddress(): string | undefined {
    return this.#status?.address;
  }

  /** Answers probes, where they are asked for. */
  async listen(): Promise<void> {
    const { statusListen } = this.#options;
    if (statusListen === undefined) return;
    const source = {
      unready: () => this.#unready(),
      metrics: async () => {
        await this.#ca.look();
        return agentMetrics({
          tunnels: this.tunnelCount,
          streams: this.streamCount,
          leaseRenewedAt: this.#lease?.renewedAt,
          brokerClockDifferenceMs: this.#brokerClock.differenceMs,
          dials: this.#targets.dials,
          staleFiles: [this.#ca, ...this.#clusters.files].filter(({ stale }) => stale).length,
        });
      },
    };
    this.#status = await startStatusServer(statusListen, source, this.#log);
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stop.abort(new TunnelError('draining', 'the agent is shutting down'));
    for (const keeper of this.#keepers) keeper.sendGoAway(this.#options.drainTimeoutMs);
    // A dialer that has not heard yet may have a stream on its way to us; one that has heard and has none ends its session.
    await this.#sessions.left(leaveMs, signal);
    await this.#sessions.idle(signal).catch(() => {});
    await this.#targets.closed(signal);
    await this.close();
  }

  async close(): Promise<void> {
    const error = new TunnelError('draining', 'the agent is shutting down');
    this.#stop.abort(error);
    this.#connected.reject(error);
    for (const keeper of this.#keepers) keeper.leave(error);
    this.#sessions.close(error);
    await this.#running;
    await this.#status?.close();
    this.#clusters.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #unready(): string | undefined {
    if (this.#stop.signal.aborted) return 'draining';
    return this.tunnelCount > 0 ? undefined : 'no tunnel to a broker stands';
  }

  #leaseKeeper(): LeaseRenewer | undefined {
    const { lease, agentId, cluster } = this.#options;
    const { here, hub } = this.#clusters;
    if (lease === undefined || here === undefined) return undefined;
    return new LeaseRenewer({
      lease,
      holder: agentId,
      here,
      hub,
      cluster,
      isAnswered: (signal) => this.#isAnswered(signal),
      clock: this.#clock,
      log: this.#log,
    });
  }

  /** Whether a broker answers now: a question goes through each tunnel, and one answer is enough. */
  async #isAnswered(signal: AbortSignal): Promise<boolean> {
    if (this.tunnelCount === 0) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const giveUp = (): void => resolve(false);
    const timer = this.#clock.setTimer(probeTimeoutMs, giveUp);
    signal.addEventListener('abort', giveUp, { once: true });
    for (const keeper of this.#keepers) keeper.probe(() => resolve(true));
    const isAnswered = await promise;
    timer.cancel();
    signal.removeEventListener('abort', giveUp);
    return isAnswered;
  }

  #keeper(tunnel: number): TunnelReconnector {
    return new TunnelReconnector({
      tunnel,
      connect: (slot, signal) => this.#connector.connect(slot, signal),
      sessions: this.#sessions,
      clock: this.#clock,
      log: this.#log,
      onWelcome: () => this.#connected.resolve(),
    });
  }
}
