export interface BackoffOptions {
  /** The ceiling of the first delay, in milliseconds (default 500). */
  readonly baseMs?: number;
  /** The ceiling that later delays grow to, in milliseconds (default 30_000). */
  readonly capMs?: number;
  /** How much the ceiling grows with each delay (default 2). */
  readonly factor?: number;
  /** The part of a delay that is random, from 0 to 1 (default 1: full jitter). */
  readonly jitter?: number;
  /** Uniform random number in [0, 1) (default Math.random). */
  readonly random?: () => number;
}

/**
 * Exponential backoff, by default with full jitter: the n-th delay is uniform in
 * [0, min(cap, base * 2^n)). Jitter over the whole range spreads the reconnects after a broker's
 * restart.
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #factor: number;
  readonly #jitter: number;
  readonly #random: () => number;
  #attempts = 0;

  constructor(options: BackoffOptions = {}) {
    this.#baseMs = options.baseMs ?? 500;
    this.#capMs = options.capMs ?? 30_000;
    this.#factor = options.factor ?? 2;
    this.#jitter = options.jitter ?? 1;
    this.#random = options.random ?? Math.random;
  }

  /**
   * The next delay in milliseconds. `atLeastMs` is the delay that the other end asked for
   * (Retry-After).
   */
  nextDelayMs(atLeastMs = 0): number {
    const ceilingMs = Math.min(this.#capMs, this.#baseMs * this.#factor ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 30);
    const jitter = this.#jitter * (1 - this.#random());
    return atLeastMs + (1 - jitter) * ceilingMs;
  }

  /** Starts with short delays again. Call it after a connection that was healthy for some time. */
  reset(): void {
    this.#attempts = 0;
  }
}
