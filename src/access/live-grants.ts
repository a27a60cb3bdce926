import type { Clock, Timer } from '../base/clock.ts';
import { AccessError } from './access-error.ts';
import type { Action } from './action.ts';
import type { Subject } from './subject.ts';
import type { WatchedAuthorizer } from './watched-authorizer.ts';

/** A session or connection that was allowed and is open. */
export interface Grant {
  readonly subject: Subject;
  readonly cluster: string;
  readonly action: Action;
  /** Ends the session, because it is not allowed any more. Called once. */
  readonly end: (reason: string, cause: 'expired' | 'denied') => void;
}

export interface LiveGrantsParts {
  readonly authorizer: WatchedAuthorizer;
  readonly clock: Clock;
  /** The time of day in milliseconds since 1970 (default: the system's). */
  readonly now?: () => number;
}

/** How often expired credentials are looked for, in milliseconds. */
const expiryEveryMs = 5_000;
/** How often every grant is authorized again, in milliseconds, also without a change of the rules. */
const recheckEveryMs = 60_000;
/** A grant that is added was decided within this time, in milliseconds. */
const maxDecisionMs = 60_000;
/** How many grants are authorized at a time. */
const atATime = 16;

/**
 * Ends open sessions that would not be allowed any more. A change of the rules is applied at once,
 * an expired credential within 5 s, and other changes (labels of clusters, rights on the hub)
 * within a minute. While it cannot be decided, sessions stay.
 */
export class LiveGrants implements Disposable {
  readonly #parts: LiveGrantsParts;
  readonly #grants = new Set<Grant>();
  readonly #closed = new AbortController();
  #timer: Timer | undefined;
  #nextRecheckMs: number;
  /** When the rules last changed, by the clock. */
  #changedAtMs = -Infinity;
  #isChecking = false;
  #mustCheckAgain = false;

  constructor(parts: LiveGrantsParts) {
    this.#parts = parts;
    this.#nextRecheckMs = parts.clock.now() + recheckEveryMs;
    parts.authorizer.onChange(() => {
      this.#changedAtMs = parts.clock.now();
      this.#recheck();
    });
  }

  get size(): number {
    return this.#grants.size;
  }

  add(grant: Grant): void {
    this.#grants.add(grant);
    this.#timer ??= this.#parts.clock.setTimer(expiryEveryMs, this.#onTimer);
    // The rules may have changed while the grant was being decided.
    if (this.#isChecking) this.#mustCheckAgain = true;
    else if (this.#parts.clock.now() - this.#changedAtMs < maxDecisionMs) void this.#check(grant);
  }

  /** The session has ended by itself. Idempotent. */
  remove(grant: Grant): void {
    this.#grants.delete(grant);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#grants.clear();
    this.#closed.abort(new AccessError('unavailable', 'the program is shutting down'));
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const { clock, now = Date.now } = this.#parts;
    const nowMs = now();
    for (const grant of this.#grants) {
      if ((grant.subject.expiresAtMs ?? Infinity) <= nowMs) {
        this.#end(grant, 'the credential has expired', 'expired');
      }
    }
    if (clock.now() >= this.#nextRecheckMs) this.#recheck();
    if (this.#grants.size > 0) this.#timer = clock.setTimer(expiryEveryMs, this.#onTimer);
  };

  #recheck(): void {
    this.#nextRecheckMs = this.#parts.clock.now() + recheckEveryMs;
    this.#mustCheckAgain = true;
    if (!this.#isChecking) void this.#checkAll();
  }

  async #checkAll(): Promise<void> {
    this.#isChecking = true;
    while (this.#mustCheckAgain && !this.#closed.signal.aborted) {
      this.#mustCheckAgain = false;
      const grants = this.#grants.values();
      const worker = async (): Promise<void> => {
        for (const grant of grants) await this.#check(grant);
      };
      await Promise.all(Array.from({ length: atATime }, worker));
    }
    this.#isChecking = false;
  }

  async #check(grant: Grant): Promise<void> {
    const { subject, cluster, action } = grant;
    const { signal } = this.#closed;
    try {
      const verdict = await this.#parts.authorizer.authorize(subject, cluster, action, signal);
      if (!verdict.allowed) this.#end(grant, verdict.reason, 'denied');
    } catch (thrown) {
      // It is decided again later.
      if (!(thrown instanceof AccessError)) throw thrown;
    }
  }

  #end(grant: Grant, ...why: Parameters<Grant['end']>): void {
    if (this.#grants.delete(grant)) grant.end(...why);
  }
}
