import { Backoff, type BackoffOptions } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** Delays between attempts at one key (default: 500 ms, doubled up to 5 min, jittered). */
  readonly backoff?: BackoffOptions | undefined;
}

interface Delayed {
  readonly dueMs: number;
  readonly timer: Timer;
}

/**
 * A queue of keys in which each key occurs once. Two workers never have the same key: a key that is
 * added while a worker has it is queued when the worker is done. So a worker sees a state that is
 * at least as new as the last `add`.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoffOptions: BackoffOptions;
  /** In the order of `take`. */
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  /** Keys that were added while a worker had them. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, Delayed>();
  readonly #failing = new Map<string, { readonly backoff: Backoff; attempts: number }>();
  readonly #takers = new Set<() => void>();
  #isClosed = false;

  constructor({ clock, backoff = {} }: WorkQueueOptions) {
    this.#clock = clock;
    this.#backoffOptions = { baseMs: 500, capMs: 300_000, ...backoff };
  }

  /** Keys that wait for a worker. */
  get depth(): number {
    return this.#ready.size;
  }

  /** Keys that wait for their delay. */
  get delayed(): number {
    return this.#delayed.size;
  }

  /** Keys that workers have. */
  get running(): number {
    return this.#running.size;
  }

  /** Keys whose last attempt failed. */
  get failing(): number {
    return this.#failing.size;
  }

  /** Failed attempts since the last success. */
  attemptsOf(key: string): number {
    return this.#failing.get(key)?.attempts ?? 0;
  }

  add(key: string): void {
    if (this.#isClosed) return;
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#ready.add(key);
    this.#wakeOne();
  }

  /** Adds the key after `delayMs`, or sooner if an earlier call asked for that. */
  addAfter(key: string, delayMs: number): void {
    if (this.#isClosed) return;
    const dueMs = this.#clock.now() + delayMs;
    const before = this.#delayed.get(key);
    if (before !== undefined && before.dueMs <= dueMs) return;
    before?.timer.cancel();
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { dueMs, timer });
  }

  /**
   * Adds the key of a failed attempt after a delay that grows with every attempt until `succeeded`.
   *
   * @param atLeastMs the least delay, for example of a Retry-After
   * @returns the delay
   */
  retry(key: string, atLeastMs = 0): number {
    let failing = this.#failing.get(key);
    if (failing === undefined) {
      failing = { backoff: new Backoff(this.#backoffOptions), attempts: 0 };
      this.#failing.set(key, failing);
    }
    failing.attempts++;
    const delayMs = failing.backoff.nextDelayMs(atLeastMs);
    this.addAfter(key, delayMs);
    return delayMs;
  }

  /** Resets the delay of a key. */
  succeeded(key: string): void {
    this.#failing.delete(key);
  }

  /**
   * Resolves with the next key, for which `done` must be called, or with undefined when the queue
   * is closed.
   */
  async take(): Promise<string | undefined> {
    while (!this.#isClosed) {
      const [key] = this.#ready;
      if (key !== undefined) {
        this.#ready.delete(key);
        this.#running.add(key);
        return key;
      }
      await new Promise<void>((resolve) => this.#takers.add(resolve));
    }
    return undefined;
  }

  /** The worker has finished this key. */
  done(key: string): void {
    this.#running.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /**
   * Returns no more keys and drops all waiting keys, which the next process finds by itself.
   * Idempotent.
   */
  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#ready.clear();
    this.#again.clear();
    for (const wake of this.#takers) wake();
    this.#takers.clear();
  }

  #wakeOne(): void {
    const [wake] = this.#takers;
    if (wake === undefined) return;
    this.#takers.delete(wake);
    wake();
  }
}
