import type { Clock } from '../../base/clock.ts';
import type { RedisConnection } from './redis-connection.ts';
import { RedisError } from './redis-error.ts';
import type { RedisHealth } from './redis-health.ts';
import { redisScripts, ScriptStatus, type RedisScript } from './redis-scripts.ts';

/**
 * Redis remembers the highest epoch and the released tunnels of a cluster for this long after its
 * last change, in milliseconds.
 */
const retentionMs = 24 * 3600_000;
/** For this long after its release, an older claim of the tunnel is refused, in milliseconds. */
const releasedMs = 10 * 60_000;

export interface RedisStoreOptions {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  readonly keyPrefix: string;
  /** Names this process in what it writes: letters and digits. */
  readonly holder: string;
  /** A claim that is not renewed for this long expires, in milliseconds. */
  readonly expiryMs: number;
  readonly commandTimeoutMs: number;
  /** Learns whether Redis tells the other replicas of changes. */
  readonly health: Pick<RedisHealth, 'published' | 'notificationsRefused'>;
}

/** A change that a script has published. */
export interface Change {
  /** Names the process that made it. */
  readonly holder: string;
  readonly alias: string;
  readonly field: string;
}

/** Undefined: the message is not one of the scripts'. */
export function parseChange(message: string): Change | undefined {
  const [, holder, alias, field] =
    /^(\w{1,64}) (cluster-[0-9a-f]{48}) (.{1,512})$/s.exec(message) ?? [];
  if (holder === undefined || alias === undefined || field === undefined) return undefined;
  return { holder, alias, field };
}

/** A claim as it is stored: `text` under `field` of the cluster with this alias. */
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

/**
 * The directory's operations in Redis. Each is a script, so it runs completely or not at all. Every
 * method rejects with RedisError.
 */
export class RedisStore {
  readonly #options: RedisStoreOptions;
  /**
   * How far Redis's time is ahead of the clock, in milliseconds. Before the first answer, how far
   * the wall clock is.
   */
  #offsetMs: number;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#offsetMs = Date.now() - options.clock.now();
  }

  /** The channel on which the scripts publish changes. */
  static channel(keyPrefix: string): string {
    return `${keyPrefix}changes`;
  }

  /** An estimate of Redis's time, in milliseconds since 1970. */
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

  /**
   * Renews claims, and stores claims that are missing. `fenced`: Redis has a newer claim for the
   * same tunnel.
   */
  async renew(claims: readonly StoredClaim[]): Promise<RenewOutcome[]> {
    const outcomes = await this.#renew(claims);
    const late = claims.filter((_, index) => outcomes[index] === 'late');
    // The estimate of Redis's time was wrong, and the answer has corrected it.
    const again = late.length > 0 ? await this.#renew(late) : [];
    return outcomes.map((outcome) => {
      const settled = outcome === 'late' ? again.shift() : outcome;
      return settled === undefined || settled === 'late' ? tooLate() : settled;
    });
  }

  /** Releases a claim, unless there is a newer one. @returns whether it did */
  async release(claim: StoredClaim): Promise<boolean> {
    const args = [...this.#writing(claim.field), releasedMs, claim.record.epoch];
    const { status, rest } = await this.#run(redisScripts.release, claim.alias, args);
    const isDone = status === ScriptStatus.done;
    if (isDone) this.#checkPublished(rest);
    return isDone;
  }

  /**
   * Reads the entries of a cluster. `known` is false for a cluster that was never stored, or was
   * lost. `releasedAtMs` is when a tunnel was last released, by the clock.
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
      // A renewal that changes nothing publishes nothing.
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
      // The estimate of Redis's time was wrong, for example after a failover. Retry once with the
      // corrected offset.
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
    const { health } = this.#options;
    if (typeof problem === 'string') health.notificationsRefused(problem);
    else health.published();
  }

  #timing(): [sentAt: number, maxAgeMs: number] {
    return [this.nowMs, this.#options.commandTimeoutMs];
  }

  #writing(field: string): (string | number)[] {
    const { holder, keyPrefix } = this.#options;
    return [field, holder, RedisStore.channel(keyPrefix), retentionMs];
  }

  /** The braces keep all data of one cluster on one node of Redis Cluster. */
  #key(alias: string): string {
    return `${this.#options.keyPrefix}{${alias}}`;
  }
}

function tooLate(): RedisError {
  return new RedisError('away', 'Redis answers too late');
}
