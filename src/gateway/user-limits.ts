import type { Clock } from '../base/clock.ts';
import { GatewayError } from './gateway-error.ts';

/** Limits on the requests of one user. */
export interface UserLimitValues {
  /** Requests at the same time, without long-running ones. */
  readonly maxConcurrent: number;
  /** Requests that wait for one of `maxConcurrent` to end. */
  readonly maxQueued: number;
  /** How long a request waits, in milliseconds. */
  readonly maxWaitMs: number;
  /** Watches, logs, exec sessions and other upgrades at the same time. */
  readonly maxLongRunning: number;
}

export const defaultUserLimits: UserLimitValues = {
  maxConcurrent: 256,
  maxQueued: 512,
  maxWaitMs: 15_000,
  maxLongRunning: 10_000,
};

/** Ends a request's part of its user's limits. Idempotent. */
export type Release = () => void;

interface User {
  running: number;
  longRunning: number;
  /** Requests that wait, the oldest first. */
  readonly queue: Set<Waiting>;
}

interface Waiting {
  readonly admit: () => void;
}

/** After how many seconds a refused client may try again. */
const retryAfterSeconds = 1;

/**
 * Bounds the requests of each user, so that a flood of one user leaves room for the others. A user
 * without requests costs no memory.
 */
export class UserLimits {
  readonly #values: UserLimitValues;
  readonly #clock: Clock;
  readonly #users = new Map<string, User>();
  #queued = 0;
  #running = 0;
  #longRunning = 0;

  constructor(values: UserLimitValues, clock: Clock) {
    this.#values = values;
    this.#clock = clock;
  }

  /** Requests that wait. */
  get queued(): number {
    return this.#queued;
  }

  /** Requests that are served now, without long-running ones. */
  get running(): number {
    return this.#running;
  }

  get longRunning(): number {
    return this.#longRunning;
  }

  /**
   * Starts a request of a user. It returns at once when the user has room.
   *
   * @throws GatewayError `TooManyRequests` the queue is full, the wait was too long, or the user
   *   has too many long-running requests; the reason of `signal`
   */
  acquire(key: string, isLongRunning: boolean, signal: AbortSignal): Release | Promise<Release> {
    let user = this.#users.get(key);
    if (user === undefined) {
      user = { running: 0, longRunning: 0, queue: new Set() };
      this.#users.set(key, user);
    }
    if (isLongRunning) return this.#startLongRunning(key, user);
    if (user.running < this.#values.maxConcurrent) return this.#start(key, user);
    return this.#wait(key, user, signal);
  }

  #startLongRunning(key: string, user: User): Release {
    const { maxLongRunning } = this.#values;
    if (user.longRunning >= maxLongRunning) {
      throw tooMany(`the user has ${maxLongRunning} watches and sessions, which is the limit`);
    }
    user.longRunning++;
    this.#longRunning++;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      user.longRunning--;
      this.#longRunning--;
      this.#forget(key, user);
    };
  }

  #start(key: string, user: User): Release {
    user.running++;
    this.#running++;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      user.running--;
      this.#running--;
      const [next] = user.queue;
      next?.admit();
      this.#forget(key, user);
    };
  }

  #wait(key: string, user: User, signal: AbortSignal): Promise<Release> {
    const { maxConcurrent, maxQueued, maxWaitMs } = this.#values;
    signal.throwIfAborted();
    if (user.queue.size >= maxQueued) {
      throw tooMany(`the user has ${maxConcurrent} requests, and ${maxQueued} more wait`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Release>();
    const stop = (): void => {
      user.queue.delete(waiting);
      this.#queued--;
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    };
    const waiting: Waiting = {
      admit: () => {
        stop();
        resolve(this.#start(key, user));
      },
    };
    const onAbort = (): void => {
      stop();
      reject(signal.reason as Error);
    };
    const timer = this.#clock.setTimer(maxWaitMs, () => {
      stop();
      reject(tooMany(`the user has ${maxConcurrent} requests, and none ended in ${maxWaitMs} ms`));
    });
    signal.addEventListener('abort', onAbort);
    user.queue.add(waiting);
    this.#queued++;
    return promise;
  }

  #forget(key: string, user: User): void {
    if (user.running + user.longRunning + user.queue.size === 0) this.#users.delete(key);
  }
}

function tooMany(sentence: string): GatewayError {
  return new GatewayError('TooManyRequests', sentence, { retryAfterSeconds });
}
