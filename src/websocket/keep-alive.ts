import { systemClock, type Clock, type Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';

export interface KeepAliveOptions {
  /**
   * `pings`: the dialing end, which asks. `answers`: the accepting end, which only watches for
   * silence.
   */
  readonly role: 'pings' | 'answers';
  /**
   * Time between two pings, in milliseconds; each is moved by up to 20 %, so that many links do not
   * ping at once (default 20_000).
   */
  readonly pingIntervalMs?: number;
  /** Pings in a row without a sign of life after which the peer is dead (default 2). */
  readonly missedPings?: number;
  readonly clock?: Clock;
  /** Uniform random number in [0, 1) (default Math.random). */
  readonly random?: () => number;
}

export interface KeepAliveActions {
  ping(): void;
  /** Tells the other end that this end lives, although it does not read and so gives no answers. */
  reassure(): void;
  /** Called once, and no other call follows. */
  dead(error: TunnelError): void;
}

const jitter = 0.2;
/**
 * With the longest interval between two pings, so that each end finds a dead peer within a minute.
 */
const silentIntervals = 2.5;
/** The part of an interval in which the last ping must be answered. */
const lastChance = 0.5;

/**
 * Tells a dead peer from a silent one, with one timer per link. Any byte counts as a sign of life.
 */
export class KeepAlive {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #missedPings: number;
  readonly #random: () => number;
  readonly #actions: KeepAliveActions;
  readonly #asks: boolean;
  #timer: Timer | undefined;
  #watchMs = 0;
  #heardAtMs: number;
  #pingedAtMs = -Infinity;
  #missed = 0;
  #paused = false;

  constructor(options: KeepAliveOptions, actions: KeepAliveActions) {
    this.#clock = options.clock ?? systemClock;
    this.#intervalMs = options.pingIntervalMs ?? 20_000;
    this.#missedPings = options.missedPings ?? 2;
    this.#random = options.random ?? Math.random;
    this.#actions = actions;
    this.#heardAtMs = this.#clock.now();
    this.#asks = options.role === 'pings';
    if (this.#asks) this.#planPing();
    else this.#planWatch(this.#intervalMs);
  }

  /** Milliseconds since bytes arrived, not counting the time in which this end did not read. */
  get silentMs(): number {
    return this.#paused ? 0 : this.#clock.now() - this.#heardAtMs;
  }

  /** An answer is late: pings at once, and gives the peer one interval. For the end that pings. */
  probe(): void {
    if (!this.#asks || this.#paused || this.#timer === undefined) return;
    this.#missed = this.#missedPings - 1;
    // A ping that is on its way gets an answer as well.
    if (this.#heardAtMs < this.#pingedAtMs) return;
    this.#timer.cancel();
    this.#ask(false);
  }

  /** Bytes arrived. */
  bytesArrived(): void {
    this.#heardAtMs = this.#clock.now();
  }

  /** This end stops reading, so that silence does not mean a dead peer. */
  pause(): void {
    this.#paused = true;
  }

  /** This end reads again. */
  resume(): void {
    this.#paused = false;
    this.bytesArrived();
  }

  /** Idempotent. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #planPing(isLastChance = false): void {
    const part = isLastChance ? lastChance : 1 - jitter + 2 * jitter * this.#random();
    const delayMs = this.#intervalMs * part;
    this.#timer = this.#clock.setTimer(delayMs, () => this.#ping());
  }

  #ping(): void {
    const answered = this.#heardAtMs >= this.#pingedAtMs || this.#paused;
    this.#missed = answered ? 0 : this.#missed + 1;
    if (this.#missed >= this.#missedPings) {
      const silentMs = Math.round(this.#clock.now() - this.#heardAtMs);
      this.#die(`the other end left pings unanswered, nothing came from it for ${silentMs} ms`);
      return;
    }
    this.#ask(this.#missed > 0);
  }

  #ask(isLastChance: boolean): void {
    this.#pingedAtMs = this.#clock.now();
    this.#planPing(isLastChance);
    this.#actions.ping();
  }

  #watch(): void {
    if (this.#paused) {
      this.bytesArrived();
      this.#actions.reassure();
    }
    const silentMs = this.#clock.now() - this.#heardAtMs;
    const leftMs = silentIntervals * this.#intervalMs - silentMs;
    const watchMs = Math.min(leftMs, this.#intervalMs);
    if (watchMs > 0 && watchMs === this.#watchMs) this.#timer?.restart();
    else if (watchMs > 0) this.#planWatch(watchMs);
    else this.#die(`nothing came from the other end for ${Math.round(silentMs / 1000)} s`);
  }

  #planWatch(delayMs: number): void {
    this.#watchMs = delayMs;
    this.#timer = this.#clock.setTimer(delayMs, () => this.#watch());
  }

  #die(message: string): void {
    this.stop();
    this.#actions.dead(new TunnelError('peer_unresponsive', message));
  }
}
