import { Backoff } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { OwnClaim, OwnClaims } from './own-claims.ts';
import type { RedisConnection } from './redis-connection.ts';
import { RedisError } from './redis-error.ts';
import { recentFailureMs, type RedisHealth } from './redis-health.ts';
import type { RedisStore } from './redis-store.ts';

/**
 * Claims are renewed in batches with pauses between, so that look-ups and other replicas get their
 * turn.
 */
const batchSize = 500;
const pauseMs = 25;
/**
 * When Redis is back, each replica renews its claims at a random time within this, in milliseconds.
 */
const renewalSpreadMs = 1_000;

export interface ClaimRenewerOptions {
  readonly connection: Pick<RedisConnection, 'checkSubscriber'>;
  readonly store: RedisStore;
  readonly own: OwnClaims;
  readonly health: RedisHealth;
  readonly clock: Clock;
  readonly log: Logger;
  /** How often all claims are renewed, in milliseconds. */
  readonly heartbeatMs: number;
  /** Redis has a newer claim for the same tunnel, so this claim has been removed from `own`. */
  readonly onFenced: (claim: OwnClaim) => void;
}

/** Keeps the claims made here alive in Redis, and stores again what Redis has lost or missed. */
export class ClaimRenewer {
  readonly #options: ClaimRenewerOptions;
  readonly #probeBackoff: Backoff;
  #probeTimer: Timer | undefined;
  #roundTimer: Timer | undefined;
  #roundDueMs = Infinity;
  #inRound = false;
  #closed = false;

  constructor(options: ClaimRenewerOptions) {
    this.#options = options;
    this.#probeBackoff = new Backoff({ baseMs: recentFailureMs, capMs: options.heartbeatMs });
    options.health.watch({
      onFailed: () => this.#probeLater(),
      onDataLost: () => this.renewNow(),
    });
  }

  start(): void {
    this.#roundIn(this.#options.heartbeatMs);
  }

  /** Tries whether Redis answers. If it does, all claims are renewed soon. Never rejects. */
  async probe(): Promise<void> {
    const { store, own, health, heartbeatMs } = this.#options;
    this.#probeTimer?.cancel();
    this.#probeTimer = undefined;
    try {
      await store.ping();
    } catch (thrown) {
      return health.failed(thrown as RedisError);
    }
    health.answered();
    if (own.isEmpty && health.outage === undefined) return;
    this.#roundIn(Math.random() * Math.min(renewalSpreadMs, heartbeatMs / 4));
  }

  /** Renews all claims without delay. */
  renewNow(): void {
    this.#roundIn(0);
  }

  /** Renews these claims, or learns that a newer claim has fenced them. */
  renew(claims: readonly OwnClaim[]): void {
    this.#track(this.#renew(claims));
  }

  /** Releases a claim. If Redis does not answer, the next round tries again. Never rejects. */
  async release(claim: OwnClaim): Promise<void> {
    const { store, own, health } = this.#options;
    try {
      await store.release(claim);
      own.delete(claim);
    } catch (thrown) {
      health.failed(thrown as RedisError);
    }
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#probeTimer?.cancel();
    this.#roundTimer?.cancel();
  }

  #probeLater(): void {
    if (this.#closed) return;
    this.#probeTimer ??= this.#options.clock.setTimer(this.#probeBackoff.nextDelayMs(), () => {
      void this.probe();
    });
  }

  /** The next round begins in `delayMs` or earlier. */
  #roundIn(delayMs: number): void {
    const dueMs = this.#options.clock.now() + delayMs;
    if (this.#closed || dueMs >= this.#roundDueMs) return;
    this.#roundDueMs = dueMs;
    // A round that is running sets the timer when it ends.
    if (!this.#inRound) this.#setRoundTimer();
  }

  #setRoundTimer(): void {
    const { clock } = this.#options;
    this.#roundTimer?.cancel();
    const delayMs = Math.max(0, this.#roundDueMs - clock.now());
    this.#roundTimer = clock.setTimer(delayMs, () => this.#track(this.#round()));
  }

  async #round(): Promise<void> {
    const { connection, store, clock, heartbeatMs, own, health } = this.#options;
    this.#inRound = true;
    this.#roundDueMs = clock.now() + heartbeatMs;
    try {
      await connection.checkSubscriber();
      await store.ping();
      if (!(await this.#renewAll([...own])) || health.outage === undefined) return;
      this.#probeBackoff.reset();
      health.recovered();
    } finally {
      this.#inRound = false;
      if (!this.#closed) this.#setRoundTimer();
    }
  }

  /** @returns whether Redis took all claims and releases */
  async #renewAll(claims: readonly OwnClaim[]): Promise<boolean> {
    const { clock, heartbeatMs, own, health } = this.#options;
    let failures = 0;
    for (let from = 0; from < claims.length && !this.#closed; from += batchSize) {
      if (from > 0) await this.#pause();
      const batch = claims.slice(from, from + batchSize);
      failures += await this.#renew(batch.filter(({ state }) => state === 'held'));
      for (const claim of batch) {
        if (claim.state !== 'released') continue;
        // The claim has expired in Redis after this time.
        if (clock.now() - claim.releasedAtMs > 3 * heartbeatMs) own.delete(claim);
        else await this.release(claim);
        if (health.failedRecently) return false;
      }
    }
    return failures === 0;
  }

  /** @returns how many of the claims Redis did not take; @throws RedisError it took none */
  async #renew(claims: readonly OwnClaim[]): Promise<number> {
    if (claims.length === 0) return 0;
    const outcomes = await this.#options.store.renew(claims);
    const errors: RedisError[] = [];
    for (const [index, outcome] of outcomes.entries()) {
      const claim = claims[index]!;
      if (outcome === 'held') claim.stored = true;
      else if (outcome === 'fenced') this.#onFenced(claim);
      else errors.push(outcome);
    }
    if (errors.length === claims.length) throw errors[0]!;
    // In Redis Cluster some nodes may be away.
    if (errors.length > 0) this.#options.health.failed(errors[0]!);
    return errors.length;
  }

  #onFenced(claim: OwnClaim): void {
    const wasHeld = claim.state === 'held';
    if (this.#options.own.delete(claim) && wasHeld) this.#options.onFenced(claim);
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.clock.setTimer(pauseMs, resolve);
    await promise;
  }

  #track(work: Promise<unknown>): void {
    const { health, log } = this.#options;
    work.catch((thrown: unknown) => {
      if (thrown instanceof RedisError) health.failed(thrown);
      else log.error('directory failed', { error: describeError(thrown) });
    });
  }
}
