import { Backoff, type BackoffOptions } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** Between attempts at one key (default: 500 ms, doubled up to 5 min, jittered). */
  readonly backoff?: BackoffOptions | undefined;
}

interface Delayed {
  readonly dueMs: number;
  readonly timer: Timer;
}

/**
 * Keys that wait to be worked on, each at most once. A key that is being worked on is not given out a second time: added meanwhile,
 * it is queued when its worker is done. So a worker sees a state that is at least as new as the last `add`.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoffOptions: BackoffOptions;
  /** In the order in which they are given out. */
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  /** Added while they were running. */
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

  /** Keys whose time has not come. */
  get delayed(): number {
    return this.#delayed.size;
  }

  /** Keys that are being worked on. */
  get running(): number {
    return this.#running.size;
  }

  /** Keys whose last attempt failed. */
  get failing(): number {
    return this.#failing.size;
  }

  /** Attempts that failed since the last success. */
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

  /** Adds the key `delayMs` from now, or sooner where that was asked for before. */
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
   * An attempt failed: adds the key after a delay that grows with every attempt until `succeeded`.
   *
   * @param atLeastMs what somebody asked for
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

  /** The next failure of this key is its first. */
  succeeded(key: string): void {
    this.#failing.delete(key);
  }

  /** The next key, when there is one; `done` must follow. Undefined: the queue was closed. */
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

  /** The worker has ended with this key. */
  done(key: string): void {
    this.#running.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Gives nothing out any more and forgets what waits: a next process finds it by itself. Idempotent. */
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
