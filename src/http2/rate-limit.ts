import type { Clock } from '../base/clock.ts';
import { Http2Error } from './http2-error.ts';

export interface RateLimitOptions {
  /** What is counted, in the plural, for the message. */
  readonly what: string;
  readonly burst: number;
  readonly perSecond: number;
  readonly clock: Clock;
}

/** Bounds events that cost us work and the client nothing: a burst, and a rate after it. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  #left: number;
  #countedAtMs: number;

  constructor(options: RateLimitOptions) {
    this.#options = options;
    this.#left = options.burst;
    this.#countedAtMs = options.clock.now();
  }

  /** Allows one more event, because the client has done something useful. */
  allowOne(): void {
    if (this.#left < this.#options.burst) this.#left++;
  }

  /** @throws Http2Error `ENHANCE_YOUR_CALM` */
  count(): void {
    if (this.#left < 1) this.#refill();
    if (this.#left < 1) {
      const { what, burst, perSecond } = this.#options;
      const message = `too many ${what}: ${burst} at once, and ${perSecond} per second`;
      throw new Http2Error('ENHANCE_YOUR_CALM', message);
    }
    this.#left--;
  }

  #refill(): void {
    const { burst, perSecond, clock } = this.#options;
    const nowMs = clock.now();
    const earned = ((nowMs - this.#countedAtMs) / 1000) * perSecond;
    this.#countedAtMs = nowMs;
    this.#left = Math.min(burst, this.#left + earned);
  }
}
