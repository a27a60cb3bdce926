import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { RedisError } from './redis-error.ts';

/**
 * A failure is recent for this long, in milliseconds. It is also the delay of the first probe after
 * a failure.
 */
export const recentFailureMs = 1_000;
/**
 * An outage may have several causes, one after the other. Each is logged once, and at most so many.
 */
const maxLoggedCauses = 8;

export interface RedisHealthOptions {
  /** Tells whether messages about changes arrive. */
  readonly connection: { readonly subscribed: boolean };
  /** The channel that the Redis user must be able to use. */
  readonly channel: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a watcher wants to know. */
export interface RedisHealthWatcher {
  /** A command has failed. */
  onFailed?(): void;
  /** Redis answers again, perhaps after it has lost data or missed changes. */
  onAnswering?(): void;
  /** Redis does not have what it had: it was flushed, or came back empty. */
  onDataLost?(): void;
}

/**
 * Knows whether Redis answers, and whether it tells of changes. Parts of the directory report to it
 * what they see, and watch it for what the others have seen.
 */
export class RedisHealth {
  readonly #options: RedisHealthOptions;
  readonly #watchers: RedisHealthWatcher[] = [];
  #outage: RedisError | undefined;
  #failedAtMs = -Infinity;
  /** The causes of this outage that were logged. */
  readonly #loggedCauses = new Set<string>();
  #notificationProblem: string | undefined;
  #closed = false;

  constructor(options: RedisHealthOptions) {
    this.#options = options;
  }

  watch(watcher: RedisHealthWatcher): void {
    this.#watchers.push(watcher);
  }

  /** The last error of the current outage. An outage ends when Redis has all claims made here. */
  get outage(): RedisError | undefined {
    return this.#outage;
  }

  /** A command failed a moment ago, so a caller with another answer should not wait for Redis. */
  get failedRecently(): boolean {
    return this.#options.clock.now() - this.#failedAtMs < recentFailureMs;
  }

  /** Whether Redis tells this process of changes, and tells other replicas of changes made here. */
  get tellsOfChanges(): boolean {
    return this.#options.connection.subscribed && this.#notificationProblem === undefined;
  }

  /**
   * Why Redis refuses to tell of changes, and which rights are missing; undefined: it does not
   * refuse.
   */
  get notificationProblem(): string | undefined {
    return this.#notificationProblem;
  }

  /** Reports that a command has failed. */
  failed(error: RedisError): void {
    if (this.#closed) return;
    if (this.#outage === undefined) this.#loggedCauses.clear();
    if (!this.#loggedCauses.has(error.message) && this.#loggedCauses.size < maxLoggedCauses) {
      this.#loggedCauses.add(error.message);
      const event =
        this.#outage === undefined ? 'redis is away' : 'redis is away for another reason';
      this.#options.log.warn(event, { code: error.code, error: error.message });
    }
    this.#outage = error;
    this.#failedAtMs = this.#options.clock.now();
    for (const watcher of this.#watchers) watcher.onFailed?.();
  }

  /** Reports that Redis answers a probe. */
  answered(): void {
    this.#failedAtMs = -Infinity;
    for (const watcher of this.#watchers) watcher.onAnswering?.();
  }

  /** Reports that Redis has all claims made here, so an outage is over. */
  recovered(): void {
    if (this.#outage === undefined) return;
    this.#outage = undefined;
    this.#options.log.info('redis is back');
  }

  /** Reports that Redis has lost data. */
  dataLost(): void {
    for (const watcher of this.#watchers) watcher.onDataLost?.();
  }

  /** Reports that Redis has told other replicas of a change. */
  published(): void {
    if (this.#options.connection.subscribed) this.#notificationProblem = undefined;
  }

  /** Reports that messages arrive from now on. */
  subscribed(): void {
    this.#notificationProblem = undefined;
  }

  /**
   * Reports that Redis refuses to subscribe or to publish, for a user without rights on channels.
   * The directory works without these rights, with older routes.
   */
  notificationsRefused(reason: string): void {
    const missing = `grant its user +subscribe +publish &${this.#options.channel}`;
    const isNew = this.#notificationProblem === undefined;
    this.#notificationProblem = `${reason}; ${missing}`;
    if (isNew) {
      const error = this.#notificationProblem;
      this.#options.log.warn('redis does not tell of changes', { error });
    }
  }

  /** From now on failures are expected and not logged. Idempotent. */
  close(): void {
    this.#closed = true;
  }
}
