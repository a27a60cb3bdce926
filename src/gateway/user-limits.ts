import type { Clock } from '../base/clock.ts';
import { GatewayError } from './gateway-error.ts';

/** Limits on the requests of one user, and of all users to one cluster. */
export interface UserLimitValues {
  /** Requests at the same time, without long-running ones. */
  readonly maxConcurrent: number;
  /** Requests that wait for one of `maxConcurrent` to end. */
  readonly maxQueued: number;
  /** How long a request waits, in milliseconds. */
  readonly maxWaitMs: number;
  /** Watches, logs, exec sessions and other upgrades at the same time. */
  readonly maxLongRunning: number;
  /**
   * The same of all users to one cluster. A session of the tunnel has 10,000 streams, so that there
   * is always room for short requests.
   */
  readonly maxLongRunningOfCluster: number;
}

export const defaultUserLimits: UserLimitValues = {
  maxConcurrent: 256,
  maxQueued: 512,
  maxWaitMs: 15_000,
  maxLongRunning: 2_500,
  maxLongRunningOfCluster: 8_000,
};

/** A request that takes its part of the limits. */
export interface LimitedRequest {
  /** Names the user. */
  readonly user: string;
  readonly cluster: string;
  readonly isLongRunning: boolean;
}

/** Ends a request's part of its user's limits. Idempotent. */
export type Release = () => void;

interface User {
  /** Requests share this text, because the credential of a stranger may be long. */
  readonly key: string;
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
  /** Long-running requests by cluster. */
  readonly #clusters = new Map<string, number>();
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
   * @throws GatewayError `TooManyRequests` the queue is full, the wait was too long, or the user or
   *   the cluster has too many long-running requests; the reason of `signal`
   */
  acquire(
    { user: key, cluster, isLongRunning }: LimitedRequest,
    signal: AbortSignal,
  ): Release | Promise<Release> {
    let user = this.#users.get(key);
    if (user === undefined) {
      user = { key, running: 0, longRunning: 0, queue: new Set() };
      this.#users.set(key, user);
    }
    if (isLongRunning) return this.#startLongRunning(user, cluster);
    if (user.running < this.#values.maxConcurrent) return this.#start(user);
    return this.#wait(user, signal);
  }

  #startLongRunning(user: User, cluster: string): Release {
    const { maxLongRunning, maxLongRunningOfCluster } = this.#values;
    const ofCluster = this.#clusters.get(cluster) ?? 0;
    if (user.longRunning >= maxLongRunning || ofCluster >= maxLongRunningOfCluster) {
      this.#forget(user);
      const isUsers = user.longRunning >= maxLongRunning;
      const owner = isUsers ? 'the user' : `cluster ${cluster}`;
      const limit = isUsers ? maxLongRunning : maxLongRunningOfCluster;
      throw tooMany(`${owner} has ${limit} watches and sessions, which is the limit`);
    }
    this.#clusters.set(cluster, ofCluster + 1);
    user.longRunning++;
    this.#longRunning++;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      user.longRunning--;
      this.#longRunning--;
      this.#leave(cluster);
      this.#forget(user);
    };
  }

  #start(user: User): Release {
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
      this.#forget(user);
    };
  }

  #wait(user: User, signal: AbortSignal): Promise<Release> {
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
        resolve(this.#start(user));
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

  #leave(cluster: string): void {
    const left = this.#clusters.get(cluster)! - 1;
    if (left === 0) this.#clusters.delete(cluster);
    else this.#clusters.set(cluster, left);
  }

  #forget(user: User): void {
    if (user.running + user.longRunning + user.queue.size === 0) this.#users.delete(user.key);
  }
}

function tooMany(sentence: string): GatewayError {
  return new GatewayError('TooManyRequests', sentence, { retryAfterSeconds });
}
