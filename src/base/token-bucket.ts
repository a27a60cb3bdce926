import type { Clock } from './clock.ts';

/**
 * Limits how much is used per second, on average. It never refuses: a user takes what it needs and
 * learns how long it must wait until that is paid for. Nothing happens in between, so a bucket
 * needs no timer.
 */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #msPerToken: number;
  readonly #burstMs: number;
  /** When everything that was taken is paid for. */
  #paidAtMs = -Infinity;

  /** @param burst how much may be used at once after a quiet time */
  constructor(perSecond: number, burst: number, clock: Clock) {
    this.#clock = clock;
    this.#msPerToken = 1_000 / perSecond;
    this.#burstMs = burst * this.#msPerToken;
  }

  /** Takes `count`. Returns for how long the user must wait, in milliseconds; 0: not at all. */
  take(count: number): number {
    const nowMs = this.#clock.now();
    const fromMs = Math.max(this.#paidAtMs, nowMs - this.#burstMs);
    this.#paidAtMs = fromMs + count * this.#msPerToken;
    return Math.max(0, this.#paidAtMs - nowMs);
  }

  /** Gives back what was taken and not used. */
  giveBack(count: number): void {
    this.#paidAtMs -= count * this.#msPerToken;
  }
}
