import type { Clock } from '../base/clock.ts';

/** The part of the rate that is given to those who were told when to come again; the rest is for newcomers. */
const bookedPart = 0.9;

/** Nobody is told to wait longer than this, in milliseconds. */
const maxWaitMs = 300_000;

/**
 * A token bucket over connections with a good credential. After a restart every agent of a fleet comes back at once. Each one over the
 * rate is given a place in a queue: the time when everyone who was refused before has been served. So the next attempts come at the rate
 * that can be served, instead of all at once.
 */
export class AcceptRate {
  readonly perSecond: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  #tokens: number;
  #filledAtMs: number;
  /** The place of the last one in the queue. */
  #bookedUntilMs = 0;

  constructor(perSecond: number, clock: Clock, random: () => number = Math.random) {
    this.perSecond = perSecond;
    this.#clock = clock;
    this.#random = random;
    this.#tokens = perSecond;
    this.#filledAtMs = clock.now();
  }

  /** Zero: accepted. Otherwise the seconds after which the caller should try again, for Retry-After. */
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
      // The queue is longer than anyone waits: the others come back at any time of its second half.
      this.#bookedUntilMs = nowMs + maxWaitMs;
      return Math.ceil((maxWaitMs * (1 + this.#random())) / 2000);
    }
    // Whole seconds: the fraction decides by chance between the two next to it.
    return Math.max(1, Math.floor(waitMs / 1000 + this.#random()));
  }
}
