import { readFile } from 'node:fs/promises';
import { type Clock, systemClock } from '../base/clock.ts';
import { clusterAlias } from '../base/cluster-alias.ts';
import type { Logger } from '../base/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits, defaultProcessBudgetBytes } from '../tunnel/limits.ts';
import { Session } from '../tunnel/session.ts';
import { SlabPool } from '../tunnel/slab.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler, Target } from '../tunnel/stream-handler.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { connectWebSocket } from '../websocket/connect.ts';
import { proxyFor } from '../websocket/proxy-environment.ts';
import type { WebSocketLink } from '../websocket/websocket-link.ts';
import { DestinationPolicy } from './destination-policy.ts';
import { forbiddenTarget } from './dial-error.ts';
import type { AgentOptions } from './options.ts';
import { SessionStore } from './session-store.ts';
import { OpenTargets, TcpTarget } from './tcp-target.ts';
import { TunnelKeeper } from './tunnel-keeper.ts';

export interface RunningAgent extends AsyncDisposable {
  /** Resolves when a broker has taken the agent in for the first time. */
  readonly connected: Promise<void>;
  /** How many streams are open. */
  readonly streamCount: number;
  /** Takes no new sessions, lets streams end until `signal` aborts, then closes. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

export interface AgentParts {
  readonly log: Logger;
  /** Times the attempts to connect and the streams (default: the system's). */
  readonly clock?: Clock;
}

/**
 * Starts an agent: it keeps a tunnel to the broker until it is closed, through any outage.
 *
 * @throws RangeError for a destination pattern that is none
 */
export async function startAgent(options: AgentOptions, parts: AgentParts): Promise<RunningAgent> {
  const alias = await clusterAlias(options.cluster);
  const policy = new DestinationPolicy({ ...options, clusterAlias: alias });
  return new Agent(options, policy, parts);
}

class Agent implements RunningAgent {
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #policy: DestinationPolicy;
  readonly #clock: Clock;
  readonly #pool = new SlabPool();
  readonly #budget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #targets = new OpenTargets();
  readonly #sessions: SessionStore;
  readonly #keepers: readonly TunnelKeeper[];
  readonly #stop = new AbortController();
  readonly #connected = Promise.withResolvers<void>();
  readonly #running: Promise<unknown>;

  constructor(
    options: AgentOptions,
    policy: DestinationPolicy,
    { log, clock = systemClock }: AgentParts,
  ) {
    this.#options = options;
    this.#policy = policy;
    this.#clock = clock;
    this.#log = log.child({ cluster: options.cluster, agent: options.agentId });
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
          log: sessionLog,
          accept: (target, timeoutMs, stream) => this.#accept(target, timeoutMs, stream),
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
    this.#running = Promise.allSettled([first?.(), rest]);
  }

  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  get streamCount(): number {
    return this.#sessions.streamCount;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stop.abort(new TunnelError('draining', 'the agent is shutting down'));
    for (const keeper of this.#keepers) keeper.sendGoAway(this.#options.drainTimeoutMs);
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
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #connect(tunnel: number, signal: AbortSignal): Promise<WebSocketLink> {
    const { brokerUrl, cluster, agentId, caFile, serverName, hostHeader, proxies } = this.#options;
    const token = await this.#options.readToken();
    const url = new URL('v1/agent', brokerUrl.href.replace(/\/?$/, '/'));
    return await connectWebSocket({
      url,
      headers: {
        'Culvert-Cluster': cluster,
        'Culvert-Agent': agentId,
        'Culvert-Tunnel': `${tunnel}`,
        ...(token === undefined ? {} : { Authorization: `Bearer ${token.reveal()}` }),
      },
      ca: caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
      serverName,
      hostHeader,
      proxy: proxyFor(url, proxies),
      signal,
    });
  }

  #keeper(tunnel: number): TunnelKeeper {
    return new TunnelKeeper({
      tunnel,
      connect: (slot, signal) => this.#connect(slot, signal),
      sessions: this.#sessions,
      clock: this.#clock,
      log: this.#log,
      onWelcome: () => this.#connected.resolve(),
    });
  }

  #accept(target: Target, timeoutMs: number, stream: Stream): StreamHandler {
    const destination = this.#policy.resolve(target.host, target.port);
    if (destination === undefined) {
      this.#log.warn('destination refused', { host: target.host, port: target.port });
      stream.reset(forbiddenTarget(target.host, target.port));
      return refusedStream;
    }
    const own = this.#options.dialTimeoutMs;
    const limitMs = timeoutMs === 0 ? own : Math.min(own, timeoutMs);
    return new TcpTarget(stream, destination, limitMs, this.#targets);
  }
}

/** The handler of a stream that was refused while it was made. */
const refusedStream: StreamHandler = {
  onData() {},
  onFin() {},
  onWritable() {},
  onClose() {},
};
