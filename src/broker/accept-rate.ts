import type { Clock } from '../base/clock.ts';

/**
 * The part of the rate for clients that were told when to come again. The rest is for new clients.
 */
const bookedPart = 0.9;

/** No client is told to wait longer than this, in milliseconds. */
const maxWaitMs = 300_000;

/**
 * A token bucket for connections with a valid credential. After a restart, every agent of a fleet
 * reconnects at once. Each client over the rate gets a place in a queue: the time at which all
 * clients that were refused before it have been served. So clients retry at the rate at which they
 * can be served.
 */
export class AcceptRate {
  readonly perSecond: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  #tokens: number;
  #filledAtMs: number;
  /** The place of the last client in the queue, by the clock. */
  #bookedUntilMs = 0;

  constructor(perSecond: number, clock: Clock, random: () => number = Math.random) {
    this.perSecond = perSecond;
    this.#clock = clock;
    this.#random = random;
    this.#tokens = perSecond;
    this.#filledAtMs = clock.now();
  }

  /**
   * Zero: accepted. Otherwise the seconds after which the caller should try again, for Retry-After.
   */
  admit(): number {
    const nowMs = this.#clock.now();
    const refill = ((nowMs - this.#filledAtMs) / 1000) * this.perSecond;
    this.#tokens = Math.min(this.perSecond, this.#tokens + refill);
    this.#filledAtMs = nowMs;
    if (this.#tokens >= 1) {
      this.#tokens--;
      return 0;
    }
    const betweenMs = 1000 / (bookedPart * this.perSecond);
    this.#bookedUntilMs = Math.max(this.#bookedUntilMs, nowMs) + betweenMs;
    const waitMs = this.#bookedUntilMs - nowMs;
    if (waitMs > maxWaitMs) {
      // The queue is full, so this client comes back at a random time in its second half.
      this.#bookedUntilMs = nowMs + maxWaitMs;
      return Math.ceil((maxWaitMs * (1 + this.#random())) / 2000);
    }
    // Retry-After has whole seconds. The fraction is the probability of the larger neighbour.
    return Math.max(1, Math.floor(waitMs / 1000 + this.#random()));
  }
}
