import type { Clock } from '../base/clock.ts';
import { Http2Error } from './http2-error.ts';

/** Bounds events that cost us work and the client nothing: a burst, and a rate after it. */
export class RateLimit {
  readonly #what: string;
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #clock: Clock;
  #left: number;
  #countedAtMs: number;

  /** @param what the events, in the plural, for the message */
  constructor(what: string, burst: number, perSecond: number, clock: Clock) {
    this.#what = what;
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#left = burst;
    this.#countedAtMs = clock.now();
  }

  /** Allows one more event, because the client has done something useful. */
  allowOne(): void {
    if (this.#left < this.#burst) this.#left++;
  }

  /** @throws Http2Error `ENHANCE_YOUR_CALM` */
  count(): void {
    if (this.#left < 1) this.#refill();
    if (this.#left < 1) {
      const limit = `${this.#burst} at once, and ${this.#perSecond} per second`;
      const message = `too many ${this.#what}: the limit is ${limit}`;
      throw new Http2Error('ENHANCE_YOUR_CALM', message);
    }
    this.#left--;
  }

  #refill(): void {
    const nowMs = this.#clock.now();
    const earned = ((nowMs - this.#countedAtMs) / 1000) * this.#perSecond;
    this.#countedAtMs = nowMs;
    this.#left = Math.min(this.#burst, this.#left + earned);
  }
}
