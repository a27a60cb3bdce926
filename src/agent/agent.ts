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
import type { HttpRequests } from './http/http-requests.ts';
import { makeHttpRequests } from './http/make-http-requests.ts';
import { TargetStreams } from './target-streams.ts';
import {
  TunnelReconnector,
  type TunnelReconnectorOptions,
  type UpstreamRetry,
} from './tunnel-reconnector.ts';

/**
 * How long a broker may take to answer through a tunnel before it counts as silent, in
 * milliseconds.
 */
const probeTimeoutMs = 10_000;

export interface RunningAgent extends AsyncDisposable {
  /** Resolves when a broker has accepted the agent for the first time. */
  readonly connected: Promise<void>;
  /** How many streams are open. */
  readonly streamCount: number;
  /** How many tunnels are established. */
  readonly tunnelCount: number;
  /** The address for probes (`host:port`); undefined: none. */
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
  /** Delays between attempts to connect (default: the agent's own). */
  readonly retry?: UpstreamRetry;
  /** The clusters whose API servers are needed (default: as the options say). */
  readonly clusters?: KubeClusters;
}

/**
 * How long dialers have to learn that this agent shuts down, in milliseconds. Most need one round
 * trip.
 */
const leaveMs = 2_000;

/**
 * Starts an agent. It keeps tunnels to brokers, through any outage, until it is closed.
 *
 * @throws RangeError for an invalid destination pattern
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
  /** The certificates of --ca-file. */
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
  readonly #http: HttpRequests;
  readonly #sessions: SessionStore;
  readonly #reconnectors: readonly TunnelReconnector[];
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
    { log, clock = systemClock, wallClock, retry }: AgentParts,
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
    this.#http = makeHttpRequests(options, { targets: this.#targets, clock, log: this.#log });
    this.#sessions = new SessionStore({
      clock,
      log: this.#log,
      resumeGraceMs: defaultLimits.resumeGraceMs,
      makeSession: (sessionLog, events, isGateway) =>
        new Session({
          clock,
          limits: defaultLimits,
          pool: this.#pool,
          budget: this.#budget,
          grantBudget: this.#grantBudget,
          log: sessionLog,
          accept: ({ target, ...request }, stream) =>
            target.kind === 'tcp'
              ? this.#targets.accept({ target, ...request }, stream)
              : this.#http.accept({ target, ...request }, stream, isGateway),
          ...events,
        }),
    });
    // Not every caller waits for the first connection.
    this.#connected.promise.catch(() => {});
    const { signal } = this.#stop;
    const credentialId = () => routes.credentialId();
    this.#reconnectors = Array.from({ length: options.tunnels }, (_, tunnel) =>
      this.#makeReconnector({ tunnel, credentialId, retry }),
    );
    const [first, ...others] = this.#reconnectors.map(
      (reconnector) => () => reconnector.run(signal),
    );
    // Each tunnel belongs on another replica, so the first one must be established before the
    // others.
    const rest = this.connected.then(() => Promise.all(others.map((run) => run())));
    this.#lease = this.#makeLeaseRenewer();
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
    return this.#reconnectors.reduce(
      (count, reconnector) => count + reconnector.establishedCount,
      0,
    );
  }

  get statusAddress(): string | undefined {
    return this.#status?.address;
  }

  /** Starts to answer probes, if the options ask for that. */
  async listen(): Promise<void> {
    const { statusListen } = this.#options;
    if (statusListen === undefined) return;
    const source = {
      unready: () => this.#unready(),
      metrics: async () => {
        await this.#ca.look();
        return agentMetrics({
          tunnels: this.tunnelCount,
          wantedTunnels: this.#reconnectors.length,
          streams: this.streamCount,
          leaseRenewedAt: this.#lease?.renewedAt,
          brokerClockDifferenceMs: this.#brokerClock.differenceMs,
          dials: this.#targets.dials,
          http: this.#http,
          staleFiles: [this.#ca, ...this.#clusters.files, ...this.#http.files].filter(
            ({ stale }) => stale,
          ).length,
        });
      },
    };
    this.#status = await startStatusServer(statusListen, source, this.#log);
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stop.abort(new TunnelError('draining', 'the agent is shutting down'));
    for (const reconnector of this.#reconnectors)
      reconnector.sendGoAway(this.#options.drainTimeoutMs);
    // A dialer that does not know yet may have a stream on its way here. A dialer that knows, and
    // has no stream, ends its session.
    await this.#sessions.untilDetached(leaveMs, signal);
    await this.#sessions.idle(signal).catch(() => {});
    this.#http.close();
    await this.#targets.closed(signal);
    await this.close();
  }

  async close(): Promise<void> {
    const error = new TunnelError('draining', 'the agent is shutting down');
    this.#stop.abort(error);
    this.#connected.reject(error);
    for (const reconnector of this.#reconnectors) reconnector.leave(error);
    this.#sessions.close(error);
    this.#http.close();
    await this.#running;
    await this.#status?.close();
    this.#clusters.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #unready(): string | undefined {
    if (this.#stop.signal.aborted) return 'draining';
    return this.tunnelCount > 0 ? undefined : 'no tunnel to a broker is established';
  }

  #makeLeaseRenewer(): LeaseRenewer | undefined {
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

  /**
   * Whether a broker answers now. A question goes through each tunnel, and one answer is enough.
   */
  async #isAnswered(signal: AbortSignal): Promise<boolean> {
    if (this.tunnelCount === 0) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const giveUp = (): void => resolve(false);
    const timer = this.#clock.setTimer(probeTimeoutMs, giveUp);
    signal.addEventListener('abort', giveUp, { once: true });
    for (const reconnector of this.#reconnectors) reconnector.probe(() => resolve(true));
    const isAnswered = await promise;
    timer.cancel();
    signal.removeEventListener('abort', giveUp);
    return isAnswered;
  }

  #makeReconnector(
    own: Pick<TunnelReconnectorOptions, 'tunnel' | 'credentialId' | 'retry'>,
  ): TunnelReconnector {
    return new TunnelReconnector({
      ...own,
      connect: (slot, signal) => this.#connector.connect(slot, signal),
      sessions: this.#sessions,
      zone: this.#options.zone,
      clock: this.#clock,
      log: this.#log,
      onWelcome: () => this.#connected.resolve(),
    });
  }
}
