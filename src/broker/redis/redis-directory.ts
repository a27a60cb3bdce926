import type { Clock } from '../../base/clock.ts';
import { isClusterAlias } from '../../base/names/cluster-name.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { ReloadStatus } from '../../base/files/reloaded-files.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import {
  byPreference,
  isOtherProcess,
  type AgentClaim,
  type AgentRecord,
  type Directory,
} from '../directory.ts';
import { RedisConnection, type RedisError } from './redis-connection.ts';
import { aliasOf, encodeClaim, fieldOf, processOfField, type StoredTunnel } from './redis-entry.ts';
import { OwnClaims, type OwnClaim } from './own-claims.ts';
import { RedisRoutes } from './redis-routes.ts';
import { RedisStore } from './redis-store.ts';
import type { RedisTlsFiles } from './redis-tls.ts';
import { describeTarget, parseRedisUrl, type RedisTarget } from './redis-target.ts';
import { ClaimRenewer } from './claim-renewer.ts';

export interface RedisDirectoryOptions {
  /** A URL, see `parseRedisUrl`, or what it would say. */
  readonly redis: string | RedisTarget;
  /** Files for `rediss://`. */
  readonly tls?: RedisTlsFiles;
  /** Starts every key and the channel: several deployments share one Redis (default `culvert:`). */
  readonly keyPrefix?: string;
  /** Names this broker among its replicas. */
  readonly replica: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How often a replica says that its claims stand; they expire after three of these (default 10_000 ms). */
  readonly heartbeatMs?: number;
  /** How long Redis may take to answer, in milliseconds (default 1_500). */
  readonly commandTimeoutMs?: number;
}

/**
 * The directory of several replicas, in Redis 6.2 or later or in Valkey. There is one hash for each cluster; it never holds
 * a byte of a stream.
 *
 * While Redis is away claims are made here and said again when it is back, and look-ups answer from what is known. Whose
 * claim is newer is decided by epochs, which Redis gives out by its own clock.
 */
export class RedisDirectory implements Directory {
  readonly #replica: string;
  /** Names this process in what it writes: a replica's name may be that of one before it. */
  readonly #holder = crypto.randomUUID().replaceAll('-', '').slice(0, 16);
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #own = new OwnClaims();
  readonly #connection: RedisConnection;
  readonly #store: RedisStore;
  readonly #upkeep: ClaimRenewer;
  readonly #routes: RedisRoutes;
  /** Why Redis does not tell of changes, and what is missing. */
  #untold: string | undefined;
  readonly #channel: string;
  #fenced: (claim: AgentRecord) => void = () => {};
  #otherProcess: (claim: AgentRecord) => void = () => {};

  /**
   * Connects, or starts degraded where Redis does not answer.
   *
   * @throws Error the URL or the prefix is malformed, or a TLS file cannot be read
   */
  static async connect(options: RedisDirectoryOptions): Promise<RedisDirectory> {
    const { redis, tls, keyPrefix = 'culvert:', commandTimeoutMs = 1_500 } = options;
    if (/[{}\s]/.test(keyPrefix)) {
      throw new Error(
        `the key prefix ${JSON.stringify(keyPrefix)} has braces or white space in it`,
      );
    }
    const target = typeof redis === 'string' ? parseRedisUrl(redis) : redis;
    const channel = RedisStore.channel(keyPrefix);
    const connection = await RedisConnection.create({
      target,
      tls,
      channel,
      commandTimeoutMs,
      log: options.log,
    });
    const directory = new RedisDirectory(options, connection, keyPrefix, commandTimeoutMs);
    await directory.#open(target);
    return directory;
  }

  private constructor(
    options: RedisDirectoryOptions,
    connection: RedisConnection,
    keyPrefix: string,
    commandTimeoutMs: number,
  ) {
    const { replica, clock, heartbeatMs = 10_000 } = options;
    const log = options.log.child({ subsystem: 'directory' });
    this.#replica = replica;
    this.#clock = clock;
    this.#log = log;
    this.#connection = connection;
    this.#channel = RedisStore.channel(keyPrefix);
    const store = new RedisStore({
      connection,
      clock,
      keyPrefix,
      holder: this.#holder,
      expiryMs: 3 * heartbeatMs,
      commandTimeoutMs,
      onPublished: (problem) => {
        if (problem !== undefined) this.#onUntold(problem);
        else if (connection.subscribed) this.#untold = undefined;
      },
    });
    this.#store = store;
    this.#upkeep = new ClaimRenewer({
      connection,
      store,
      own: this.#own,
      clock,
      log,
      heartbeatMs,
      onFenced: (claim) => this.#onFenced(claim),
      onAnswering: () => this.#routes.expireAll(),
    });
    const upkeep = this.#upkeep;
    this.#routes = new RedisRoutes({
      hasNotifications: () => connection.subscribed && this.#untold === undefined,
      store,
      upkeep,
      clock,
      log,
      heartbeatMs,
    });
  }

  get degraded(): string | undefined {
    const { away } = this.#upkeep;
    if (away === undefined) {
      const why = this.#untold === undefined ? '' : ` (${this.#untold})`;
      if (this.#connection.subscribed && why === '') return undefined;
      return `Redis does not tell of changes${why}: every route is looked up again after a second`;
    }
    let waiting = 0;
    for (const claim of this.#own) if (!claim.stored) waiting++;
    const fails = away.code === 'away' ? 'does not answer' : 'refuses commands';
    return `Redis ${fails} (${away.message}); known routes are used, changes that wait for it: ${waiting}`;
  }

  /** The files of TLS, which are read again when they change. */
  get files(): readonly ReloadStatus[] {
    return this.#connection.files === undefined ? [] : [this.#connection.files];
  }

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    const text = encodeClaim(agent);
    const alias = aliasOf(agent.cluster);
    const field = fieldOf(agent);
    const older = this.#own.get(alias, field);
    if (older?.state === 'held') older.state = 'superseded';
    const made = await this.#makeEpoch({ alias, field, text });
    const record: AgentRecord = { ...agent, epoch: made.epoch };
    const before = this.#own.get(alias, field);
    if (before !== undefined && before.record.epoch > made.epoch) {
      // That one was made here while this one was on its way.
      this.#fenced(record);
      return record;
    }
    const { stored } = made;
    this.#own.set({ alias, field, text, record, state: 'held', stored, releasedAtMs: Infinity });
    this.#routes.expire(alias);
    if (before !== undefined && before.state !== 'released') this.#fenced(before.record);
    return record;
  }

  async retire(claim: AgentRecord): Promise<void> {
    const own = this.#own.get(aliasOf(claim.cluster), fieldOf(claim));
    if (own === undefined || own.record.epoch !== claim.epoch || own.state !== 'held') return;
    own.record = { ...own.record, retiring: true };
    own.text = encodeClaim(own.record);
    own.stored = false;
    this.#routes.expire(own.alias);
    this.#upkeep.renew([own]);
  }

  async release(claim: AgentRecord): Promise<void> {
    const own = this.#own.get(aliasOf(claim.cluster), fieldOf(claim));
    if (own === undefined || own.record.epoch !== claim.epoch || own.state === 'released') return;
    own.state = 'released';
    own.stored = false;
    own.releasedAtMs = this.#clock.now();
    this.#routes.expire(own.alias);
    await this.#upkeep.release(own);
  }

  /** @throws TunnelError `no_agent` Redis is away and nothing is known here of this cluster */
  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    return this.#find(isClusterAlias(cluster) ? cluster : aliasOf(cluster), cluster);
  }

  releasedAtMs(cluster: string): number {
    const alias = isClusterAlias(cluster) ? cluster : aliasOf(cluster);
    return this.#routes.releasedAtMs(alias) ?? -Infinity;
  }

  invalidate(record: AgentRecord): void {
    this.#routes.drop(aliasOf(record.cluster), record);
  }

  onFenced(listener: (claim: AgentRecord) => void): void {
    this.#fenced = listener;
  }

  onOtherProcess(listener: (claim: AgentRecord) => void): void {
    this.#otherProcess = listener;
  }

  async close(): Promise<void> {
    this.#upkeep.close();
    this.#connection.close();
  }

  async #open(target: RedisTarget): Promise<void> {
    let opening = true;
    try {
      await this.#connection.open({
        onReady: () => opening || void this.#upkeep.probe(),
        onLost: (error) => this.#upkeep.failed(error),
        onSubscribed: () => {
          this.#untold = undefined;
          this.#routes.expireAll();
        },
        onSubscribeRefused: (error) => this.#onUntold(error.message),
        onMessage: (message) => this.#onMessage(message),
      });
      this.#log.info('directory opened', { redis: describeTarget(target) });
      await this.#upkeep.probe();
    } catch (thrown) {
      this.#upkeep.failed(thrown as RedisError);
    } finally {
      opening = false;
    }
    this.#upkeep.start();
  }

  /** The epoch of a new claim: Redis's, or one by our idea of Redis's time until Redis can be told. */
  async #makeEpoch(
    claim: Pick<OwnClaim, 'alias' | 'field' | 'text'>,
  ): Promise<{ readonly epoch: number; readonly stored: boolean }> {
    let floor = 0;
    for (const { record } of this.#own.unreleased(claim.alias)) {
      floor = Math.max(floor, record.epoch + 1);
    }
    for (const { record } of this.#routes.known(claim.alias) ?? []) {
      floor = Math.max(floor, record.epoch + 1);
    }
    try {
      return { epoch: await this.#store.claim(claim, floor), stored: true };
    } catch (thrown) {
      this.#upkeep.failed(thrown as RedisError);
      return { epoch: Math.max(floor, this.#store.nowMs), stored: false };
    }
  }

  async #find(alias: string, cluster: string): Promise<AgentRecord[]> {
    try {
      return this.#withOwn(alias, await this.#routes.find(alias));
    } catch (thrown) {
      const own = this.#withOwn(alias, []);
      if (own.length > 0) return own;
      const sentence = `no route to cluster ${cluster} is known here, and Redis cannot be asked`;
      throw new TunnelError('no_agent', sentence, { cause: thrown });
    }
  }

  /** Of our own claims we know more than Redis does. */
  #withOwn(alias: string, tunnels: readonly StoredTunnel[]): AgentRecord[] {
    const byField = new Map<string, AgentRecord>();
    for (const { field, holder, record } of tunnels) {
      // What we do not hold is not here, and neither is what was claimed under our name before we started.
      if (holder !== this.#holder && record.replica !== this.#replica) byField.set(field, record);
    }
    for (const own of this.#own.unreleased(alias)) {
      const other = byField.get(own.field);
      if (other === undefined || other.epoch < own.record.epoch) byField.set(own.field, own.record);
      else this.#verify(own);
    }
    return [...byField.values()].sort(byPreference);
  }

  #onMessage(message: string): void {
    const [, holder, alias, field] =
      /^(\w{1,64}) (cluster-[0-9a-f]{48}) (.{1,512})$/s.exec(message) ?? [];
    if (alias === undefined || field === undefined) {
      this.#routes.warnOnce('', 'directory message ignored', 'it is not one of ours');
      return;
    }
    if (holder === this.#holder) return;
    this.#routes.expire(alias);
    const own = this.#own.get(alias, field);
    if (own !== undefined) return this.#verify(own);
    const process = processOfField(field);
    if (process === undefined) return;
    for (const { record } of this.#own.unreleased(alias)) {
      if (isOtherProcess(record, process)) this.#otherProcess(record);
    }
  }

  /** Redis does not let us subscribe or publish: a user without rights on channels. Everything else works, with older routes. */
  #onUntold(why: string): void {
    const missing = `grant its user +subscribe +publish &${this.#channel}`;
    const isNews = this.#untold === undefined;
    this.#untold = `${why}; ${missing}`;
    if (isNews) this.#log.warn('redis does not tell of changes', { reason: this.#untold });
  }

  /** Somebody else claims the same tunnel; whether that is newer than ours Redis knows for certain. */
  #verify(own: OwnClaim): void {
    if (own.state === 'held') this.#upkeep.renew([own]);
  }

  #onFenced({ alias, record }: OwnClaim): void {
    const { cluster, agent, tunnel } = record;
    this.#log.info('claim fenced out by a newer one', { cluster, agent, tunnel });
    this.#routes.expire(alias);
    this.#fenced(record);
  }
}
