import type { Clock } from '../../base/clock.ts';
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
import { processOfTunnelKey, tunnelKey } from '../tunnel-name.ts';
import { ClaimRenewer } from './claim-renewer.ts';
import { OwnClaims, type OwnClaim } from './own-claims.ts';
import { RedisConnection } from './redis-connection.ts';
import { aliasOf, encodeClaim, type StoredTunnel } from './redis-entry.ts';
import type { RedisError } from './redis-error.ts';
import { RedisHealth } from './redis-health.ts';
import { RedisRoutes } from './redis-routes.ts';
import { parseChange, RedisStore } from './redis-store.ts';
import { describeTarget, parseRedisUrl, type RedisTarget } from './redis-target.ts';
import type { RedisTlsFiles } from './redis-tls.ts';
import { isClusterAlias } from '../../base/names/cluster-name.ts';

export interface RedisDirectoryOptions {
  /** A URL, see `parseRedisUrl`, or its parsed form. */
  readonly redis: string | RedisTarget;
  /** Files for `rediss://`. */
  readonly tls?: RedisTlsFiles;
  /** The prefix of all keys and of the channel of a deployment (default `culvert:`). */
  readonly keyPrefix?: string;
  /** Names this broker among its replicas. */
  readonly replica: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How often claims are renewed; they expire after three times as long (default 10_000 ms). */
  readonly heartbeatMs?: number;
  /** How long Redis may take to answer, in milliseconds (default 1_500). */
  readonly commandTimeoutMs?: number;
}

/**
 * The directory of several replicas, in Redis 6.2 or later or in Valkey. Each cluster has one hash.
 * Redis never holds a byte of a stream.
 *
 * While Redis is away, claims are made here and stored later, and look-ups answer from what is
 * known. Epochs decide which claim is newer, and Redis assigns them by its own clock.
 */
export class RedisDirectory implements Directory {
  readonly #replica: string;
  /** Names this process. A replica's name may be that of an earlier process. */
  readonly #holder: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #connection: RedisConnection;
  readonly #health: RedisHealth;
  readonly #store: RedisStore;
  readonly #own = new OwnClaims();
  readonly #routes: RedisRoutes;
  readonly #renewer: ClaimRenewer;
  #fenced: (claim: AgentRecord) => void = () => {};
  #otherProcess: (claim: AgentRecord) => void = () => {};

  /**
   * Connects to Redis. If Redis does not answer, the directory starts degraded.
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
      ...{ target, tls, channel, commandTimeoutMs, log: options.log },
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
    const holder = crypto.randomUUID().replaceAll('-', '').slice(0, 16);
    const channel = RedisStore.channel(keyPrefix);
    const health = new RedisHealth({ connection, channel, clock, log });
    const parts = { connection, health, clock, log };
    const expiryMs = 3 * heartbeatMs;
    const store = new RedisStore({ ...parts, keyPrefix, holder, expiryMs, commandTimeoutMs });
    this.#replica = replica;
    this.#holder = holder;
    this.#clock = clock;
    this.#log = log;
    this.#connection = connection;
    this.#health = health;
    this.#store = store;
    this.#routes = new RedisRoutes({ ...parts, store, heartbeatMs });
    const onFenced = (claim: OwnClaim) => this.#onFenced(claim);
    this.#renewer = new ClaimRenewer({ ...parts, store, own: this.#own, heartbeatMs, onFenced });
  }

  get degraded(): string | undefined {
    const { outage, tellsOfChanges, notificationProblem } = this.#health;
    if (outage === undefined) {
      if (tellsOfChanges) return undefined;
      const reason = notificationProblem === undefined ? '' : ` (${notificationProblem})`;
      return `Redis does not tell of changes${reason}: every route is looked up again after a second`;
    }
    let waiting = 0;
    for (const claim of this.#own) if (!claim.stored) waiting++;
    const fails = outage.code === 'away' ? 'does not answer' : 'refuses commands';
    return `Redis ${fails} (${outage.message}); known routes are used, changes that wait for it: ${waiting}`;
  }

  /** The files of TLS, which are read again when they change. */
  get files(): readonly ReloadStatus[] {
    return this.#connection.files === undefined ? [] : [this.#connection.files];
  }

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    const text = encodeClaim(agent);
    const alias = aliasOf(agent.cluster);
    const field = tunnelKey(agent);
    const older = this.#own.get(alias, field);
    if (older?.state === 'held') older.state = 'superseded';
    const epochOfRedis = await this.#claimInRedis({ alias, field, text });
    // While Redis is away, an estimate of Redis's time orders claims.
    const epoch = epochOfRedis ?? Math.max(this.#leastEpoch(alias), this.#store.nowMs);
    const record: AgentRecord = { ...agent, epoch };
    const before = this.#own.get(alias, field);
    if (before !== undefined && before.record.epoch > epoch) {
      // This process has made a newer claim while this one was on its way.
      this.#fenced(record);
      return record;
    }
    const stored = epochOfRedis !== undefined;
    this.#own.set({ alias, field, text, record, state: 'held', stored, releasedAtMs: Infinity });
    this.#routes.expire(alias);
    if (before !== undefined && before.state !== 'released') this.#fenced(before.record);
    return record;
  }

  async retire(claim: AgentRecord): Promise<void> {
    const own = this.#own.get(aliasOf(claim.cluster), tunnelKey(claim));
    if (own === undefined || own.record.epoch !== claim.epoch || own.state !== 'held') return;
    own.record = { ...own.record, retiring: true };
    own.text = encodeClaim(own.record);
    own.stored = false;
    this.#routes.expire(own.alias);
    this.#renewer.renew([own]);
  }

  async release(claim: AgentRecord): Promise<void> {
    const own = this.#own.get(aliasOf(claim.cluster), tunnelKey(claim));
    if (own === undefined || own.record.epoch !== claim.epoch || own.state === 'released') return;
    own.state = 'released';
    own.stored = false;
    own.releasedAtMs = this.#clock.now();
    this.#routes.expire(own.alias);
    await this.#renewer.release(own);
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
    this.#health.close();
    this.#renewer.close();
    this.#connection.close();
  }

  async #open(target: RedisTarget): Promise<void> {
    let opening = true;
    try {
      await this.#connection.open({
        onReady: () => opening || void this.#renewer.probe(),
        onLost: (error) => this.#health.failed(error),
        onSubscribed: () => {
          this.#health.subscribed();
          this.#routes.expireAll();
        },
        onSubscribeRefused: (error) => this.#health.notificationsRefused(error.message),
        onMessage: (message) => this.#onMessage(message),
      });
      this.#log.info('directory opened', { redis: describeTarget(target) });
      await this.#renewer.probe();
    } catch (thrown) {
      this.#health.failed(thrown as RedisError);
    } finally {
      opening = false;
    }
    this.#renewer.start();
  }

  /** @returns the epoch of the claim; undefined: Redis is away */
  async #claimInRedis(
    claim: Pick<OwnClaim, 'alias' | 'field' | 'text'>,
  ): Promise<number | undefined> {
    try {
      return await this.#store.claim(claim, this.#leastEpoch(claim.alias));
    } catch (thrown) {
      this.#health.failed(thrown as RedisError);
      return undefined;
    }
  }

  /** A new claim's epoch must be above those of all known claims of its cluster. */
  #leastEpoch(alias: string): number {
    const known = [...this.#own.unreleased(alias), ...(this.#routes.known(alias) ?? [])];
    return known.reduce((least, { record }) => Math.max(least, record.epoch + 1), 0);
  }

  async #find(alias: string, cluster: string): Promise<AgentRecord[]> {
    try {
      return this.#addOwn(alias, await this.#routes.find(alias));
    } catch (thrown) {
      const own = this.#addOwn(alias, []);
      if (own.length > 0) return own;
      const sentence = `no route to cluster ${cluster} is known here, and Redis cannot be asked`;
      throw new TunnelError('no_agent', sentence, { cause: thrown });
    }
  }

  /** Adds the claims made here, because this process knows them better than Redis. */
  #addOwn(alias: string, tunnels: readonly StoredTunnel[]): AgentRecord[] {
    const byField = new Map<string, AgentRecord>();
    for (const { field, holder, record } of tunnels) {
      // Stored claims of this process or of this replica's name do not count. They are stale or of
      // an earlier process.
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
    const change = parseChange(message);
    if (change === undefined) {
      this.#routes.warnOnce('', 'directory message ignored', 'it is not one of ours');
      return;
    }
    const { holder, alias, field } = change;
    if (holder === this.#holder) return;
    this.#routes.expire(alias);
    const own = this.#own.get(alias, field);
    if (own !== undefined) return this.#verify(own);
    const process = processOfTunnelKey(field);
    if (process === undefined) return;
    for (const { record } of this.#own.unreleased(alias)) {
      if (isOtherProcess(record, process)) this.#otherProcess(record);
    }
  }

  /** Another replica claims the same tunnel. A renewal asks Redis which claim is newer. */
  #verify(own: OwnClaim): void {
    if (own.state === 'held') this.#renewer.renew([own]);
  }

  #onFenced({ alias, record }: OwnClaim): void {
    const { cluster, agent, tunnel } = record;
    this.#log.info('claim fenced by a newer one', { cluster, agent, tunnel });
    this.#routes.expire(alias);
    this.#fenced(record);
  }
}
