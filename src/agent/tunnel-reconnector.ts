import { Backoff, type BackoffOptions } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { sleep } from '../base/sleep.ts';
import { version } from '../base/version.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import { ConnectError } from '../tunnel/connect-error.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { AgentTunnel } from '../acceptor/agent-tunnel.ts';
import type { SessionStore } from '../acceptor/session-store.ts';

/**
 * A tunnel that lived this long was healthy: the next outage starts with a short delay again.
 * Dialers wait some seconds for an agent whose connections were closed, so a few outages within
 * minutes must not add up to a long delay. In milliseconds.
 */
const healthyAfterMs = 2_000;

/**
 * Delays in the first minute of an outage. Most outages are restarts, and an attempt without an
 * answer costs the broker nothing, so an agent is back within 2 s of the broker's return. Full
 * jitter spreads 10,000 agents over the whole 1.5 s.
 */
const firstMinute = { forMs: 60_000, backoff: { baseMs: 500, capMs: 1_500 } };

/**
 * Delays in a longer outage, and where the broker itself is busy: there each attempt makes things
 * worse.
 */
const later = { baseMs: 500, capMs: 30_000 };

/** Between attempts that a person has to make succeed (a refused credential), in milliseconds. */
const refusedRetryMs = 60_000;

/** How often a refused credential is compared with the present one, in milliseconds. */
const credentialLookMs = 1_000;

/**
 * A second tunnel that a load balancer brings to the same replica tries again after this long,
 * twice as long each time, up to so long.
 */
const sameReplicaRetryMs = { first: 250, last: 60_000 };

/** The delays of konnectivity's proxy-agent between attempts that fail. */
export interface UpstreamRetry {
  /** The first delay, in milliseconds. Each later delay is half as long again. */
  readonly intervalMs: number;
  /** The longest delay, in milliseconds. */
  readonly capMs: number;
}

export interface TunnelReconnectorOptions {
  /** 0 or 1: each belongs on another replica. */
  readonly tunnel: number;
  readonly connect: (tunnel: number, signal: AbortSignal) => Promise<AttachableLink>;
  readonly sessions: SessionStore;
  /** The zone of the agent (default: not known). */
  readonly zone?: string | undefined;
  /**
   * Identifies the present credential. When it changes after a refusal, the next attempt follows at
   * once (default: the credential never changes).
   */
  readonly credentialId?: () => Promise<string>;
  /**
   * Delays where the broker has refused the credential or is busy, and after the first minute of an
   * outage (default: the agent's own).
   */
  readonly retry?: UpstreamRetry | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** A broker has accepted the tunnel. */
  readonly onWelcome: () => void;
  /** Uniform random number in [0, 1) (default Math.random). */
  readonly random?: () => number;
}

/** How long to wait after a tunnel or an attempt. */
interface Pause {
  /** The delay that the broker asked for, in milliseconds. */
  readonly atLeastMs: number;
  /** The broker is overloaded, or may be. Delays grow at once. */
  readonly busy: boolean;
  /** The broker has refused the credential. */
  readonly isRefusal?: boolean;
}

/** Keeps one tunnel to some broker, through any outage, until it is stopped. */
export class TunnelReconnector {
  readonly #options: TunnelReconnectorOptions;
  readonly #log: Logger;
  readonly #quick: Backoff;
  readonly #slow: Backoff;
  /** When the first attempt of the present outage failed, or its tunnel was lost. */
  #outageSinceMs: number | undefined;
  /** The present tunnel, and those whose broker goes away and that end with it. */
  readonly #tunnels = new Set<AgentTunnel>();
  #sameReplica = 0;

  constructor(options: TunnelReconnectorOptions) {
    this.#options = options;
    this.#log = options.log.child({ tunnel: options.tunnel });
    const random = options.random ?? Math.random;
    this.#quick = new Backoff({ ...firstMinute.backoff, random });
    this.#slow = new Backoff({ ...slowBackoff(options.retry), random });
  }

  /** How many tunnels are established: one, or two while one replaces the other. */
  get establishedCount(): number {
    let count = 0;
    for (const tunnel of this.#tunnels) if (tunnel.isEstablished) count++;
    return count;
  }

  /** Asks the brokers for an answer; `onAnswer` is called for each that comes. */
  probe(onAnswer: () => void): void {
    for (const tunnel of this.#tunnels) tunnel.probe(onAnswer);
  }

  /** Asks the brokers to send no new sessions. */
  sendGoAway(deadlineMs: number): void {
    for (const tunnel of this.#tunnels) tunnel.sendGoAway(deadlineMs);
  }

  /** Ends the tunnels in order; `run` has been aborted. Idempotent. */
  leave(error: TunnelError): void {
    for (const tunnel of this.#tunnels) tunnel.leave(error);
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { connect, clock, tunnel, credentialId } = this.#options;
    while (!signal.aborted) {
      // Before the attempt, so that a change during it counts as well.
      const credential = await credentialId?.();
      let pause: Pause = { atLeastMs: 0, busy: false };
      try {
        const link = await connect(tunnel, signal);
        const startedMs = clock.now();
        this.#sameReplica = 0;
        const atLeastMs = await this.#serve(link, signal);
        pause = { atLeastMs, busy: false };
        if (clock.now() - startedMs > healthyAfterMs) this.#resetBackoff();
      } catch (thrown) {
        if (signal.aborted) return;
        pause = this.#reportFailure(thrown);
      }
      const delayMs = this.#nextDelayMs(pause);
      this.#log.debug('next attempt', { delayMs: Math.round(delayMs) });
      await this.#wait(delayMs, pause.isRefusal === true ? credential : undefined, signal);
    }
  }

  /** Waits for the next attempt. With a refused credential, a change of it ends the wait. */
  async #wait(delayMs: number, refused: string | undefined, signal: AbortSignal): Promise<void> {
    const { clock, credentialId } = this.#options;
    if (refused === undefined) return sleep(clock, delayMs, signal).catch(() => {});
    const untilMs = clock.now() + delayMs;
    do {
      const leftMs = untilMs - clock.now();
      await sleep(clock, Math.min(leftMs, credentialLookMs), signal).catch(() => {});
      if ((await credentialId?.()) === refused) continue;
      this.#log.info('the credential has changed');
      return;
    } while (clock.now() < untilMs && !signal.aborted);
  }

  #resetBackoff(): void {
    this.#outageSinceMs = undefined;
    this.#quick.reset();
    this.#slow.reset();
  }

  #nextDelayMs({ atLeastMs, busy }: Pause): number {
    const nowMs = this.#options.clock.now();
    this.#outageSinceMs ??= nowMs;
    const isRecent = nowMs - this.#outageSinceMs < firstMinute.forMs;
    if (busy || !isRecent) return this.#slow.nextDelayMs(atLeastMs);
    return Math.max(atLeastMs, this.#quick.nextDelayMs());
  }

  /**
   * Serves a tunnel until it ends or its broker asks to leave; says how long to wait before the
   * next.
   */
  #serve(link: AttachableLink, signal: AbortSignal): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const log = this.#log.child({ broker: link.peer });
    const tunnel = new AgentTunnel(link, {
      software: `culvert-agent/${version}`,
      zone: this.#options.zone,
      sessions: this.#options.sessions,
      onWelcome: (replica) => {
        log.info('connected to the broker', { replica });
        for (const other of this.#tunnels) if (other !== tunnel) other.leaveWhenEmpty();
        this.#options.onWelcome();
      },
      onGoAway: (retryAfterMs) => {
        // The old tunnel keeps its streams while the next one is made.
        log.info('the broker goes away', { retryAfterMs });
        this.#resetBackoff();
        this.#sameReplica = 0;
        resolve(retryAfterMs);
      },
      onClosed: (error) => {
        this.#tunnels.delete(tunnel);
        log.warn('the tunnel ended', {
          code: error?.code,
          error: describeError(error ?? 'closed'),
        });
        resolve(0);
      },
    });
    this.#tunnels.add(tunnel);
    if (signal.aborted) tunnel.leave(signal.reason as TunnelError);
    return promise;
  }

  #reportFailure(thrown: unknown): Pause {
    const failure = thrown instanceof ConnectError ? thrown : undefined;
    const { code, status, brokerCode, retryAfterMs = 0 } = failure ?? {};
    if (brokerCode === 'already_here') {
      // One replica, or a load balancer that sends us there again: no failure, because the first
      // tunnel is established.
      this.#log.debug('the other tunnel is at this replica');
      this.#resetBackoff();
      const { first, last } = sameReplicaRetryMs;
      const nextMs = Math.min(last, first * 2 ** this.#sameReplica++);
      return { atLeastMs: Math.max(retryAfterMs, nextMs), busy: true };
    }
    // The broker's own no. A proxy or firewall that says 401 or 403 is another matter, and may say
    // something else soon.
    this.#log.warn('no connection to the broker', { code, status, error: describeError(thrown) });
    if (failure?.isRefusal === true) {
      const ownMs = this.#options.retry === undefined ? refusedRetryMs : 0;
      return { atLeastMs: Math.max(ownMs, retryAfterMs), busy: true, isRefusal: true };
    }
    // A broker that shuts down says when to come back, and a successor is often there by then.
    const busy = code === 'timeout' || (retryAfterMs > 0 && brokerCode !== 'draining');
    return { atLeastMs: retryAfterMs, busy };
  }
}

/** A tenth of upstream's delays is random. */
function slowBackoff(retry: UpstreamRetry | undefined): BackoffOptions {
  if (retry === undefined) return later;
  return { baseMs: retry.intervalMs, capMs: retry.capMs, factor: 1.5, jitter: 0.1 };
}
