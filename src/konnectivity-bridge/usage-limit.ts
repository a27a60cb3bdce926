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
  readonly #onUnused: () => void;
  #users = 0;

  /** @param onUnused called when its last user has released it */
  constructor({ bytesPerSecond, dialsPerSecond }: UsageRates, clock: Clock, onUnused: () => void) {
    this.#onUnused = onUnused;
    if (bytesPerSecond !== undefined) {
      const burstBytes = Math.max(minBurstBytes, bytesPerSecond * burstSeconds);
      this.#bytes = new TokenBucket(bytesPerSecond, burstBytes, clock);
    }
    if (dialsPerSecond !== undefined) {
      this.#dials = new TokenBucket(dialsPerSecond, dialsPerSecond * dialBurstSeconds, clock);
    }
  }

  /** A stream is limited by it until `release`. */
  use(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users === 0) this.#onUnused();
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

/**
 * So many clients or clusters without a stream are remembered. A forgotten one may use its burst
 * again.
 */
const maxUnused = 10_000;

/** The limits of clients or clusters by their name. */
export class UsageLimits {
  readonly #rates: UsageRates;
  readonly #clock: Clock;
  /** Not forgotten, because clients may make up any number of clusters. */
  readonly #used = new Map<string, UsageLimit>();
  /** Least recently used first. */
  readonly #unused = new Map<string, UsageLimit>();

  constructor(rates: UsageRates, clock: Clock) {
    this.#rates = rates;
    this.#clock = clock;
  }

  /** Whether any rate is limited. */
  get isLimited(): boolean {
    return this.#rates.bytesPerSecond !== undefined || this.#rates.dialsPerSecond !== undefined;
  }

  /** The limit for a stream, which releases it at its end. */
  use(name: string): UsageLimit {
    const limit = this.#used.get(name) ?? this.#unused.get(name) ?? this.#make(name);
    this.#unused.delete(name);
    this.#used.set(name, limit);
    limit.use();
    return limit;
  }

  #make(name: string): UsageLimit {
    const made: UsageLimit = new UsageLimit(this.#rates, this.#clock, () => {
      this.#used.delete(name);
      this.#unused.set(name, made);
      if (this.#unused.size <= maxUnused) return;
      const [oldest] = this.#unused.keys();
      this.#unused.delete(oldest!);
    });
    return made;
  }
}
