import { readFile } from 'node:fs/promises';
import { Backoff } from '../base/backoff.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { clusterAlias } from '../base/cluster-alias.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/logger.ts';
import { version } from '../base/version.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits, defaultProcessBudgetBytes } from '../tunnel/limits.ts';
import { Session } from '../tunnel/session.ts';
import { SlabPool } from '../tunnel/slab.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler, Target } from '../tunnel/stream-handler.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { connectWebSocket, HandshakeError } from '../websocket/connect.ts';
import { proxyFor } from '../websocket/proxy-environment.ts';
import type { WebSocketLink } from '../websocket/websocket-link.ts';
import { AgentTunnel } from './agent-tunnel.ts';
import { DestinationPolicy } from './destination-policy.ts';
import { forbiddenTarget } from './dial-error.ts';
import type { AgentOptions } from './options.ts';
import { SessionStore } from './session-store.ts';
import { TcpTarget } from './tcp-target.ts';

/** A tunnel that lived this long was healthy: the next outage starts with a short delay again. */
const healthyAfterMs = 60_000;

/** Between attempts that a person has to make succeed (a refused credential), in milliseconds. */
const refusedRetryMs = 60_000;

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
  readonly #sessions: SessionStore;
  readonly #tunnels = new Set<AgentTunnel>();
  readonly #stop = new AbortController();
  readonly #connected = Promise.withResolvers<void>();
  readonly #loop: Promise<void>;

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
      clock: systemClock,
      log: this.#log,
      resumeGraceMs: defaultLimits.resumeGraceMs,
      makeSession: (sessionLog, onBroken) =>
        new Session({
          clock: systemClock,
          limits: defaultLimits,
          pool: this.#pool,
          budget: this.#budget,
          log: sessionLog,
          accept: (target, timeoutMs, stream) => this.#accept(target, timeoutMs, stream),
          onBroken,
        }),
    });
    // Nobody needs to wait for the first connection.
    this.#connected.promise.catch(() => {});
    this.#loop = this.#run();
  }

  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  get streamCount(): number {
    return this.#sessions.streamCount;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stop.abort(new TunnelError('draining', 'the agent is shutting down'));
    for (const tunnel of this.#tunnels) tunnel.sendGoAway(this.#options.drainTimeoutMs);
    await this.#sessions.idle(signal).catch(() => {});
    await this.close();
  }

  async close(): Promise<void> {
    const error = new TunnelError('draining', 'the agent is shutting down');
    this.#stop.abort(error);
    this.#connected.reject(error);
    for (const tunnel of this.#tunnels) tunnel.leave(error);
    this.#sessions.close(error);
    await this.#loop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const backoff = new Backoff();
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const startedMs = this.#clock.now();
      let atLeastMs = 0;
      try {
        const link = await this.#connect(signal);
        atLeastMs = await this.#serve(link);
      } catch (thrown) {
        if (signal.aborted) return;
        atLeastMs = this.#reportFailure(thrown);
      }
      if (this.#clock.now() - startedMs > healthyAfterMs) backoff.reset();
      const delayMs = backoff.nextDelayMs(atLeastMs);
      this.#log.debug('next attempt', { delayMs: Math.round(delayMs) });
      await this.#pause(delayMs, signal);
    }
  }

  /** Waits, or until the signal aborts. */
  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = (): void => resolve();
    const timer = this.#clock.setTimer(delayMs, stop);
    signal.addEventListener('abort', stop, { once: true });
    await promise;
    timer.cancel();
    signal.removeEventListener('abort', stop);
  }

  async #connect(signal: AbortSignal): Promise<WebSocketLink> {
    const { brokerUrl, cluster, agentId, caFile, serverName, hostHeader, proxies } = this.#options;
    const token = await this.#options.readToken();
    const url = new URL('v1/agent', brokerUrl.href.replace(/\/?$/, '/'));
    return await connectWebSocket({
      url,
      headers: {
        'Culvert-Cluster': cluster,
        'Culvert-Agent': agentId,
        ...(token === undefined ? {} : { Authorization: `Bearer ${token.reveal()}` }),
      },
      ca: caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
      serverName,
      hostHeader,
      proxy: proxyFor(url, proxies),
      signal,
    });
  }

  /** Serves a tunnel until it ends or the broker asks to leave; says how long to wait before the next. */
  #serve(link: WebSocketLink): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const log = this.#log.child({ broker: link.peer });
    const tunnel = new AgentTunnel(link, {
      software: `culvert-agent/${version}`,
      sessions: this.#sessions,
      onWelcome: (replica) => {
        log.info('connected to the broker', { replica });
        this.#connected.resolve();
      },
      onGoAway: (retryAfterMs) => {
        // The old tunnel goes on with its streams while the loop looks for a new one.
        log.info('the broker goes away', { retryAfterMs });
        resolve(retryAfterMs);
      },
      onClosed: (error) => {
        this.#tunnels.delete(tunnel);
        log.warn('the tunnel ended', { code: error?.code, why: describeError(error ?? 'closed') });
        resolve(0);
      },
    });
    this.#tunnels.add(tunnel);
    if (this.#stop.signal.aborted) tunnel.leave(this.#stop.signal.reason as TunnelError);
    return promise;
  }

  #reportFailure(thrown: unknown): number {
    const failure = thrown instanceof HandshakeError ? thrown : undefined;
    const { code, status, retryAfterMs = 0 } = failure ?? {};
    // The broker's own no. A proxy that says 401 or 403 is another matter, and may say something else soon.
    const refused = code === 'rejected' && (status === 401 || status === 403);
    this.#log.warn('no connection to the broker', { code, status, why: describeError(thrown) });
    return refused ? Math.max(refusedRetryMs, retryAfterMs) : retryAfterMs;
  }

  #accept(target: Target, timeoutMs: number, stream: Stream): StreamHandler {
    const destination = this.#policy.resolve(target.host, target.port);
    if (destination === undefined) {
      this.#log.warn('destination refused', { host: target.host, port: target.port });
      stream.reset(forbiddenTarget(target.host, target.port));
      return refusedStream;
    }
    const own = this.#options.dialTimeoutMs;
    return new TcpTarget(stream, destination, timeoutMs === 0 ? own : Math.min(own, timeoutMs));
  }
}

/** The handler of a stream that was refused while it was made. */
const refusedStream: StreamHandler = {
  onData() {},
  onFin() {},
  onWritable() {},
  onClose() {},
};
