import type { Clock } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';

/** Bytes and dials per second, on average; undefined: no limit. */
export interface UsageRates {
  /** In both directions together. */
  readonly bytesPerSecond?: number | undefined;
  readonly dialsPerSecond?: number | undefined;
}

/** A client or a cluster may use so many seconds of its rate at once after a quiet time. */
const burstSeconds = 0.1;
/** The least burst: the first window of a stream. */
const minBurstBytes = 256 * 1024;
/** Browsers and kubectl dial several times at once. */
const dialBurstSeconds = 1;

/** The limit of one client, or of one cluster. */
export class UsageLimit {
  readonly #bytes: TokenBucket | undefined;
  readonly #dials: TokenBucket | undefined;

  constructor({ bytesPerSecond, dialsPerSecond }: UsageRates, clock: Clock) {
    if (bytesPerSecond !== undefined) {
      const burstBytes = Math.max(minBurstBytes, bytesPerSecond * burstSeconds);
      this.#bytes = new TokenBucket(bytesPerSecond, burstBytes, clock);
    }
    if (dialsPerSecond !== undefined) {
      this.#dials = new TokenBucket(dialsPerSecond, dialsPerSecond * dialBurstSeconds, clock);
    }
  }

  /** Counts bytes. Returns for how long no more may be moved, in milliseconds. */
  takeBytes(bytes: number): number {
    return this.#bytes?.take(bytes) ?? 0;
  }

  /** Counts a dial. Returns for how long it must wait, in milliseconds. */
  takeDial(): number {
    return this.#dials?.take(1) ?? 0;
  }

  /** The dial was not made. */
  giveDialBack(): void {
    this.#dials?.giveBack(1);
  }
}

/** So many clients or clusters are remembered. A forgotten one may use its burst again. */
const maxLimits = 10_000;

/** The limits of clients or clusters by their name. */
export class UsageLimits {
  readonly #rates: UsageRates;
  readonly #clock: Clock;
  /** Least recently used first. */
  readonly #byName = new Map<string, UsageLimit>();

  constructor(rates: UsageRates, clock: Clock) {
    this.#rates = rates;
    this.#clock = clock;
  }

  /** Whether any rate is limited. */
  get isLimited(): boolean {
    return this.#rates.bytesPerSecond !== undefined || this.#rates.dialsPerSecond !== undefined;
  }

  of(name: string): UsageLimit {
    const limit = this.#byName.get(name) ?? new UsageLimit(this.#rates, this.#clock);
    this.#byName.delete(name);
    this.#byName.set(name, limit);
    if (this.#byName.size > maxLimits) {
      const [oldest] = this.#byName.keys();
      this.#byName.delete(oldest!);
    }
    return limit;
  }
}
