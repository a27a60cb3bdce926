import { Backoff } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { RedisError, type RedisConnection } from './redis-connection.ts';
import type { OwnClaim, OwnClaims } from './own-claims.ts';
import type { RedisStore } from './redis-store.ts';

/** Claims are renewed so many at a time, with a pause between, so that look-ups and other replicas get their turn. */
const batchSize = 500;
const pauseMs = 25;
/** When Redis is back every replica says its claims again, each at some time within this. */
const replaySpreadMs = 1_000;
const firstProbeMs = 1_000;
/** An outage may have several reasons, one after the other; each is logged once, and not more than so many. */
const maxReasons = 8;

export interface ClaimRenewerOptions {
  readonly connection: RedisConnection;
  readonly store: RedisStore;
  readonly own: OwnClaims;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heartbeatMs: number;
  /** A newer claim stands: this one is not among our own any more. */
  readonly onFenced: (claim: OwnClaim) => void;
  /** Redis answers, perhaps after it has lost or been told something. */
  readonly onAnswering: () => void;
}

/** Keeps what is claimed here true in Redis, and knows whether Redis is there. */
export class ClaimRenewer {
  readonly #options: ClaimRenewerOptions;
  readonly #probeBackoff: Backoff;
  #away: RedisError | undefined;
  /** What has been logged of this outage. */
  readonly #reasons = new Set<string>();
  #failedAtMs = -Infinity;
  #probeTimer: Timer | undefined;
  #roundTimer: Timer | undefined;
  #roundDueMs = Infinity;
  #inRound = false;
  #closed = false;

  constructor(options: ClaimRenewerOptions) {
    this.#options = options;
    this.#probeBackoff = new Backoff({ baseMs: firstProbeMs, capMs: options.heartbeatMs });
  }

  /** Why Redis is away or was, until all that was claimed meanwhile is there. */
  get away(): RedisError | undefined {
    return this.#away;
  }

  /** Redis did not answer a moment ago: who has another answer need not wait for it. */
  get failedLately(): boolean {
    return this.#options.clock.now() - this.#failedAtMs < firstProbeMs;
  }

  start(): void {
    this.#roundIn(this.#options.heartbeatMs);
  }

  /** A command has failed. */
  failed(error: RedisError): void {
    if (this.#closed) return;
    if (this.#away === undefined) this.#reasons.clear();
    if (!this.#reasons.has(error.message) && this.#reasons.size < maxReasons) {
      this.#reasons.add(error.message);
      const event = this.#away === undefined ? 'redis is away' : 'redis is away for another reason';
      this.#options.log.warn(event, { code: error.code, error: error.message });
    }
    this.#away = error;
    this.#failedAtMs = this.#options.clock.now();
    this.#probeTimer ??= this.#options.clock.setTimer(this.#probeBackoff.nextDelayMs(), () => {
      void this.probe();
    });
  }

  /** Tries whether Redis answers; if so everything claimed here is said again soon. Never rejects. */
  async probe(): Promise<void> {
    const { store, own, onAnswering, heartbeatMs } = this.#options;
    this.#probeTimer?.cancel();
    this.#probeTimer = undefined;
    try {
      await store.ping();
    } catch (thrown) {
      return this.failed(thrown as RedisError);
    }
    this.#failedAtMs = -Infinity;
    onAnswering();
    if (own.isEmpty && this.#away === undefined) return;
    this.#roundIn(Math.random() * Math.min(replaySpreadMs, heartbeatMs / 4));
  }

  /** Says everything again at once: Redis has lost something. */
  renewNow(): void {
    this.#roundIn(0);
  }

  /** Says that these claims stand, or learns that they do not. */
  renew(claims: readonly OwnClaim[]): void {
    this.#track(this.#renew(claims));
  }

  async release(claim: OwnClaim): Promise<void> {
    const { store, own } = this.#options;
    try {
      await store.release(claim);
      own.delete(claim);
    } catch (thrown) {
      this.failed(thrown as RedisError);
    }
  }

  close(): void {
    this.#closed = true;
    this.#probeTimer?.cancel();
    this.#roundTimer?.cancel();
  }

  /** The next round begins in `delayMs` or earlier. */
  #roundIn(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.now() + delayMs;
    if (this.#closed || dueMs >= this.#roundDueMs) return;
    this.#roundDueMs = dueMs;
    // One that is running sets the timer when it ends.
    if (!this.#inRound) this.#setRoundTimer();
  }

  #setRoundTimer(): void {
    const { clock } = this.#options;
    this.#roundTimer?.cancel();
    const delayMs = Math.max(0, this.#roundDueMs - clock.now());
    this.#roundTimer = clock.setTimer(delayMs, () => this.#track(this.#round()));
  }

  async #round(): Promise<void> {
    const { connection, store, clock, heartbeatMs, own, log } = this.#options;
    this.#inRound = true;
    this.#roundDueMs = clock.now() + heartbeatMs;
    try {
      await connection.checkSubscriber();
      await store.ping();
      if (!(await this.#renewAll([...own])) || this.#away === undefined) return;
      this.#away = undefined;
      this.#probeBackoff.reset();
      log.info('redis is back');
    } finally {
      this.#inRound = false;
      if (!this.#closed) this.#setRoundTimer();
    }
  }

  /** @returns whether Redis took all of it */
  async #renewAll(claims: readonly OwnClaim[]): Promise<boolean> {
    const { clock, heartbeatMs, own } = this.#options;
    let failures = 0;
    for (let from = 0; from < claims.length && !this.#closed; from += batchSize) {
      if (from > 0) await this.#pause();
      const batch = claims.slice(from, from + batchSize);
      failures += await this.#renew(batch.filter(({ state }) => state === 'held'));
      for (const claim of batch) {
        if (claim.state !== 'released') continue;
        // After so long Redis has forgotten it by itself.
        if (clock.now() - claim.releasedAtMs > 3 * heartbeatMs) own.delete(claim);
        else await this.release(claim);
        if (this.failedLately) return false;
      }
    }
    return failures === 0;
  }

  /** @returns how many of them Redis did not take; @throws RedisError it took none */
  async #renew(claims: readonly OwnClaim[]): Promise<number> {
    if (claims.length === 0) return 0;
    const outcomes = await this.#options.store.renew(claims);
    const errors: RedisError[] = [];
    for (const [index, outcome] of outcomes.entries()) {
      const claim = claims[index]!;
      if (outcome === 'held') claim.stored = true;
      else if (outcome === 'fenced') this.#fencedOut(claim);
      else errors.push(outcome);
    }
    if (errors.length === claims.length) throw errors[0]!;
    // In a cluster some nodes may be away.
    if (errors.length > 0) this.failed(errors[0]!);
    return errors.length;
  }

  #fencedOut(claim: OwnClaim): void {
    const stood = claim.state === 'held';
    if (this.#options.own.delete(claim) && stood) this.#options.onFenced(claim);
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.clock.setTimer(pauseMs, resolve);
    await promise;
  }

  #track(work: Promise<unknown>): void {
    work.catch((thrown: unknown) => {
      if (thrown instanceof RedisError) this.failed(thrown);
      else this.#options.log.error('directory failed', { error: describeError(thrown) });
    });
  }
}
