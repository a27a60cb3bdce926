import type { Clock } from '../base/clock.ts';

/**
 * A token bucket over connection attempts. After a restart every agent of a fleet comes back at once; those over the rate
 * are told when to try again, spread over as long as serving all of them takes.
 */
export class AcceptRate {
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  #tokens: number;
  #filledAtMs: number;
  #refusedInARow = 0;

  constructor(perSecond: number, clock: Clock, random: () => number = Math.random) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#random = random;
    this.#tokens = perSecond;
    this.#filledAtMs = clock.now();
  }

  /** Zero: accepted. Otherwise the seconds after which the caller should try again, for Retry-After. */
  admit(): number {
    const nowMs = this.#clock.now();
    const refill = ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#perSecond, this.#tokens + refill);
    this.#filledAtMs = nowMs;
    if (this.#tokens >= 1) {
      this.#tokens--;
      this.#refusedInARow = 0;
      return 0;
    }
    this.#refusedInARow++;
    const spreadS = Math.max(1, (2 * this.#refusedInARow) / this.#perSecond);
    return 1 + Math.floor(this.#random() * spreadS);
  }
}
