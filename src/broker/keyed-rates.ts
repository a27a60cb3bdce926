import type { Clock } from '../base/clock.ts';

/** The size and speed of a token bucket. */
export interface Rate {
  readonly perSecond: number;
  /** How many may come at once after a quiet time. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** How many keys are remembered. A forgotten key starts with a full bucket. */
const maxKeys = 10_000;

/**
 * A token bucket for each key, such as an address or a credential. Only the most recently used keys
 * are remembered.
 */
export class KeyedRates {
  readonly #rate: Rate;
  readonly #clock: Clock;
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  /** Takes a token. @returns false: the bucket is empty */
  take(key: string): boolean {
    const bucket = this.#filled(key);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Whether `take` would return false. */
  isExhausted(key: string): boolean {
    return this.#filled(key).tokens < 1;
  }

  #filled(key: string): Bucket {
    const { perSecond, burst } = this.#rate;
    const nowMs = this.#clock.now();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, filledAtMs: nowMs };
    const refill = ((nowMs - bucket.filledAtMs) / 1000) * perSecond;
    bucket.tokens = Math.min(burst, bucket.tokens + refill);
    bucket.filledAtMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > maxKeys) {
      const [oldest] = this.#buckets.keys();
      this.#buckets.delete(oldest!);
    }
    return bucket;
  }
}
