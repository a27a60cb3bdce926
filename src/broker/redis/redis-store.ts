import type { Clock } from '../../base/clock.ts';
import { RedisError, type RedisConnection } from './redis-connection.ts';
import { redisScripts, ScriptStatus, type RedisScript } from './redis-scripts.ts';

/** Highest epochs, and the tunnels that were let go, are remembered for this long after the last word of a cluster. */
const retentionMs = 24 * 3600_000;
/** For this long after its release a tunnel cannot come back by an older claim, in milliseconds. */
const releasedMs = 10 * 60_000;

export interface RedisStoreOptions {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  readonly keyPrefix: string;
  /** Names this process in what it writes: letters and digits. */
  readonly holder: string;
  /** What is not renewed for this long is gone, in milliseconds. */
  readonly expiryMs: number;
  readonly commandTimeoutMs: number;
  /** The other replicas were told of something that was written; or why Redis does not let us tell them. */
  readonly onPublished: (problem: string | undefined) => void;
}

/** A claim as it is written: `text` under `field` of the cluster with this alias. */
export interface StoredClaim {
  readonly alias: string;
  readonly field: string;
  readonly text: string;
  readonly record: { readonly epoch: number };
}

export type RenewOutcome = 'held' | 'fenced' | RedisError;

interface Reply {
  readonly status: number;
  readonly rest: readonly unknown[];
}

/** What the directory asks of Redis, as scripts that run whole or not at all. Every method rejects with RedisError. */
export class RedisStore {
  readonly #options: RedisStoreOptions;
  /** What Redis's time is ahead of the clock; the wall clock's until Redis has told. */
  #offsetMs: number;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#offsetMs = Date.now() - options.clock.now();
  }

  /** The channel on which changes are told, as `<holder> <alias> <field>`. */
  static channel(keyPrefix: string): string {
    return `${keyPrefix}changes`;
  }

  /** Redis's time in milliseconds, as well as it is known here. */
  get nowMs(): number {
    return Math.round(this.#options.clock.now() + this.#offsetMs);
  }

  async ping(): Promise<void> {
    await this.#run(redisScripts.ping, 'ping', []);
  }

  /** @returns the epoch of the new claim, at least `floor` */
  async claim(claim: Omit<StoredClaim, 'record'>, floor: number): Promise<number> {
    const { alias, field, text } = claim;
    const args = [...this.#writing(field), this.#options.expiryMs, floor, text];
    const { rest } = await this.#run(redisScripts.claim, alias, args);
    this.#checkPublished(rest);
    return Number(rest[0]);
  }

  /** Keeps claims, or puts them where they are missing; those that a newer one fences out are told. */
  async renew(claims: readonly StoredClaim[]): Promise<RenewOutcome[]> {
    const outcomes = await this.#renew(claims);
    const late = claims.filter((_, index) => outcomes[index] === 'late');
    // Those were sent by a wrong idea of Redis's time, which the answer has put right.
    const again = late.length > 0 ? await this.#renew(late) : [];
    return outcomes.map((outcome) => {
      const settled = outcome === 'late' ? again.shift() : outcome;
      return settled === undefined || settled === 'late' ? tooLate() : settled;
    });
  }

  /** Takes a claim back unless a newer one stands; @returns whether it did. */
  async release(claim: StoredClaim): Promise<boolean> {
    const args = [...this.#writing(claim.field), releasedMs, claim.record.epoch];
    const { status, rest } = await this.#run(redisScripts.release, claim.alias, args);
    const isDone = status === ScriptStatus.done;
    if (isDone) this.#checkPublished(rest);
    return isDone;
  }

  /**
   * The entries of a cluster as they are; `known` is false where Redis has never heard of it, or has forgotten; `releasedAtMs` is when a
   * tunnel was released last, by the clock.
   */
  async read(
    alias: string,
  ): Promise<{ known: boolean; releasedAtMs: number; entries: [field: string, value: string][] }> {
    const { rest } = await this.#run(redisScripts.read, alias, []);
    const [known, forgottenAtMs, ...flat] = rest;
    const releasedAtMs = Number(forgottenAtMs) - releasedMs - this.#offsetMs;
    const entries: [string, string][] = [];
    for (let at = 0; at + 1 < flat.length; at += 2) {
      entries.push([String(flat[at]), String(flat[at + 1])]);
    }
    return { known: known === 1, releasedAtMs, entries };
  }

  async #renew(claims: readonly StoredClaim[]): Promise<(RenewOutcome | 'late')[]> {
    const calls = claims.map(({ alias, field, text, record }) => ({
      key: this.#key(alias),
      args: [
        ...this.#timing(),
        ...this.#writing(field),
        this.#options.expiryMs,
        record.epoch,
        text,
      ],
    }));
    const answers = await this.#options.connection.runAll(redisScripts.renew, calls);
    return answers.map((answer) => {
      if (answer instanceof RedisError) return answer;
      const { status, rest } = this.#read(answer);
      // Without a problem nothing may have been told.
      if (rest.length > 1) this.#checkPublished(rest);
      if (status === ScriptStatus.late) return 'late';
      return status === ScriptStatus.done ? 'held' : 'fenced';
    });
  }

  async #run(
    script: RedisScript,
    alias: string,
    args: readonly (string | number)[],
  ): Promise<Reply> {
    const { connection } = this.#options;
    for (let attempt = 0; attempt < 2; attempt++) {
      const answer = await connection.run(script, this.#key(alias), [...this.#timing(), ...args]);
      const reply = this.#read(answer);
      // Late by a wrong idea of Redis's time, as after a failover to a server whose clock is ahead, is not late.
      if (reply.status !== ScriptStatus.late) return reply;
    }
    throw tooLate();
  }

  #read(answer: unknown): Reply {
    if (!Array.isArray(answer)) throw new RedisError('refused', 'a script gave no list');
    const [status, nowMs, ...rest] = answer as unknown[];
    this.#offsetMs = Number(nowMs) - this.#options.clock.now();
    return { status: Number(status), rest };
  }

  #checkPublished([, problem]: readonly unknown[]): void {
    this.#options.onPublished(typeof problem === 'string' ? problem : undefined);
  }

  #timing(): [sentAt: number, maxAgeMs: number] {
    return [this.nowMs, this.#options.commandTimeoutMs];
  }

  #writing(field: string): (string | number)[] {
    const { holder, keyPrefix } = this.#options;
    return [field, holder, RedisStore.channel(keyPrefix), retentionMs];
  }

  /** Braces: in Redis Cluster everything of one cluster is on one node. */
  #key(alias: string): string {
    return `${this.#options.keyPrefix}{${alias}}`;
  }
}

function tooLate(): RedisError {
  return new RedisError('away', 'Redis answers too late');
}
