import type { BackoffOptions } from '../../base/backoff.ts';
import { systemClock, type Clock } from '../../base/clock.ts';
import { silentLogger, type Logger } from '../../base/log/logger.ts';
import type { Informer, ObjectChange } from './informer.ts';
import { isKubeError, KubeError } from '../client/kube-error.ts';
import type { KubeObject } from '../client/kube-object.ts';
import { WorkQueue } from './work-queue.ts';

/** The result of a reconcile. */
export interface ReconcileResult {
  /**
   * Reconciles the key again after this time without a change, for example because a certificate
   * expires.
   */
  readonly againAfterMs?: number | undefined;
}

/** A source of keys. Made by `keysFrom`. */
export interface KeySource {
  /**
   * Calls `add` for every key from now on, and for all existing keys.
   *
   * @returns a function that stops it
   */
  follow(add: (key: string) => void): () => void;
  /** Resolves when `add` has been called for all existing keys. */
  synced(signal: AbortSignal): Promise<void>;
}

export interface ControllerOptions {
  /** For logs and metrics: `agent-work`. */
  readonly name: string;
  readonly sources: readonly KeySource[];
  /**
   * Brings the object of `key` to its desired state. After a rejection it is called again with a
   * growing delay. Two workers never have the same key. Its signal aborts after `timeoutMs`, or if
   * it has not ended within `lastRunsMs` after a stop.
   */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult | undefined>;
  /** Default 4. */
  readonly workers?: number | undefined;
  /** For one reconcile, in milliseconds (default 60_000). */
  readonly timeoutMs?: number | undefined;
  /** How long a stop waits for running reconciles, in milliseconds (default 5_000). */
  readonly lastRunsMs?: number | undefined;
  readonly backoff?: BackoffOptions | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
}

/** A view, for metrics and status pages. */
export interface ControllerStatus {
  readonly name: string;
  readonly isSynced: boolean;
  /** Keys that wait for a worker. */
  readonly depth: number;
  readonly delayed: number;
  readonly running: number;
  /** Keys whose last attempt failed. */
  readonly failing: number;
  readonly reconciled: number;
  readonly retries: number;
}

/**
 * The keys of an informer's objects, or the keys that `keys` derives from a change, such as the
 * owner's key.
 */
export function keysFrom<T extends KubeObject>(
  informer: Informer<T>,
  keys: (change: ObjectChange<T>) => Iterable<string> = ({ key }) => [key],
): KeySource {
  return {
    follow: (add) =>
      informer.onChange((change) => {
        for (const key of keys(change)) add(key);
      }),
    synced: (signal) => informer.synced(signal),
  };
}

/**
 * Passes keys from its sources through one queue to workers that call `reconcile`. Informers are
 * shared and run elsewhere.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #queue: WorkQueue;
  #isSynced = false;
  #reconciled = 0;
  #retries = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = (options.log ?? silentLogger).child({ controller: options.name });
    this.#queue = new WorkQueue({ clock: this.#clock, backoff: options.backoff });
  }

  get status(): ControllerStatus {
    const { depth, delayed, running, failing } = this.#queue;
    const counted = { reconciled: this.#reconciled, retries: this.#retries };
    return {
      name: this.#options.name,
      isSynced: this.#isSynced,
      depth,
      delayed,
      running,
      failing,
      ...counted,
    };
  }

  /** Adds a key of no source. */
  add(key: string): void {
    this.#queue.add(key);
  }

  /**
   * Works from the time when all sources have synced until `signal` aborts and running reconciles
   * have ended. Never rejects. Call it once.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { sources, workers = 4 } = this.#options;
    const ends = sources.map((source) => source.follow((key) => this.#queue.add(key)));
    const cut = new AbortController();
    let drain = { cancel() {} };
    const onAbort = () => {
      this.#queue.close();
      const late = () => cut.abort(signal.reason);
      drain = this.#clock.setTimer(this.#options.lastRunsMs ?? 5_000, late);
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.all(sources.map((source) => source.synced(signal)));
      this.#isSynced = true;
      this.#log.info('controller started', { keys: this.#queue.depth, workers });
      await Promise.all(Array.from({ length: workers }, () => this.#work(cut.signal)));
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      signal.removeEventListener('abort', onAbort);
      drain.cancel();
      for (const end of ends) end();
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (let key = await this.#queue.take(); key !== undefined; key = await this.#queue.take()) {
      await this.#reconcile(key, signal);
      this.#queue.done(key);
    }
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<void> {
    const { reconcile, timeoutMs = 60_000 } = this.#options;
    const over = new AbortController();
    const timer = this.#clock.setTimer(timeoutMs, () =>
      over.abort(new Error(`the reconcile took longer than ${timeoutMs / 1000} s`)),
    );
    const onAbort = () => over.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const result = await reconcile(key, over.signal);
      this.#reconciled++;
      this.#queue.succeeded(key);
      if (result?.againAfterMs !== undefined) this.#queue.addAfter(key, result.againAfterMs);
    } catch (error) {
      if (!signal.aborted) this.#failed(key, error);
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  #failed(key: string, error: unknown): void {
    this.#retries++;
    const atLeastMs = error instanceof KubeError ? error.retryAfterMs : undefined;
    const retryInMs = Math.round(this.#queue.retry(key, atLeastMs));
    const fields = { object: key, attempts: this.#queue.attemptsOf(key), retryInMs, error };
    // Another client wrote at the same time. The next attempt sees its change.
    if (isKubeError(error, 'conflict')) this.#log.debug('reconcile met a conflict', fields);
    else this.#log.warn('reconcile failed', fields);
  }
}
