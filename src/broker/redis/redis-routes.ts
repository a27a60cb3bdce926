import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AgentRecord } from '../directory.ts';
import { decodeEntry, type StoredTunnel } from './redis-entry.ts';
import type { RedisError } from './redis-error.ts';
import type { RedisHealth } from './redis-health.ts';
import type { RedisStore } from './redis-store.ts';
import { RouteCache, type CachedRoute } from './route-cache.ts';

/** How long a cached route is fresh while Redis tells of changes, in milliseconds. */
const routeTtlMs = 10_000;
/**
 * How long a route is fresh while Redis does not tell of changes, or without a tunnel, in
 * milliseconds.
 */
const unsureTtlMs = 1_000;
/** Replicas that lost their connection to Redis have it again within this time, in milliseconds. */
const reconnectMs = 5_000;
const maxKeysLogged = 1_000;

export interface RedisRoutesOptions {
  readonly store: RedisStore;
  readonly health: RedisHealth;
  readonly clock: Clock;
  readonly log: Logger;
  /** Every replica renews its claims within this time, in milliseconds. */
  readonly heartbeatMs: number;
}

/**
 * The tunnels of clusters as replicas have stored them: from a cache while it is fresh, else from
 * Redis.
 */
export class RedisRoutes {
  readonly #options: RedisRoutesOptions;
  readonly #cache: RouteCache;
  readonly #keysLogged = new Set<string>();

  constructor(options: RedisRoutesOptions) {
    this.#options = options;
    this.#cache = new RouteCache(options.clock);
    options.health.watch({ onAnswering: () => this.expireAll() });
  }

  /** The last known tunnels of a cluster, however old. */
  known(alias: string): readonly StoredTunnel[] | undefined {
    return this.#cache.get(alias)?.tunnels;
  }

  /**
   * When a tunnel of the cluster was last released, by the clock, as the last look-up has learned.
   */
  releasedAtMs(alias: string): number | undefined {
    return this.#cache.get(alias)?.releasedAtMs;
  }

  /**
   * The tunnels of a cluster. While Redis is away, the last known tunnels.
   *
   * @throws RedisError Redis is away, and no tunnels are known
   */
  async find(alias: string): Promise<readonly StoredTunnel[]> {
    const fresh = this.#cache.fresh(alias, (route) => this.#maxAgeMs(route));
    if (fresh !== undefined) return fresh.tunnels;
    const { health } = this.#options;
    const known = this.known(alias);
    if (known !== undefined && health.failedRecently) return known;
    try {
      return (await this.#cache.load(alias, () => this.#read(alias))).tunnels;
    } catch (thrown) {
      health.failed(thrown as RedisError);
      // The cache may have changed in the meantime.
      const tunnels = this.known(alias);
      if (tunnels === undefined) throw thrown;
      return tunnels;
    }
  }

  /** A tunnel of this cluster has changed. */
  expire(alias: string): void {
    this.#cache.expire(alias);
  }

  /** Tunnels of any cluster may have changed. */
  expireAll(): void {
    this.#cache.expireAll();
  }

  /**
   * Removes a tunnel from the cache, which its replica does not hold any more, until Redis lists it
   * again.
   */
  drop(alias: string, record: AgentRecord): void {
    this.#cache.drop(alias, record);
  }

  /** Logs a warning once for each key. */
  warnOnce(key: string, event: string, thrown: unknown): void {
    if (this.#keysLogged.has(key)) return;
    if (this.#keysLogged.size >= maxKeysLogged) this.#keysLogged.clear();
    this.#keysLogged.add(key);
    this.#options.log.warn(event, { key: key.slice(0, 200), error: describeError(thrown) });
  }

  #maxAgeMs(route: CachedRoute): number {
    const isSure = this.#options.health.tellsOfChanges && route.lostAtMs === undefined;
    return isSure && route.tunnels.length > 0 ? routeTtlMs : unsureTtlMs;
  }

  async #read(alias: string): Promise<CachedRoute> {
    const readAtMs = this.#options.clock.now();
    const { known, releasedAtMs, entries } = await this.#options.store.read(alias);
    if (!known) return this.#keepAfterFlush(alias, readAtMs);
    const tunnels: StoredTunnel[] = [];
    for (const [field, value] of entries) {
      try {
        tunnels.push(decodeEntry(alias, field, value));
      } catch (thrown) {
        this.warnOnce(`${alias}/${field}`, 'directory entry ignored', thrown);
      }
    }
    return { tunnels, readAtMs, releasedAtMs };
  }

  /**
   * A heuristic for a Redis that was flushed or came back empty. Redis remembers even clusters
   * without a tunnel, so if it has forgotten a cluster with cached tunnels, it has lost its data.
   * Each replica then needs up to a heartbeat, and perhaps a reconnect, to store its claims again.
   * Until that time has passed, the cached tunnels are more likely to be right than Redis's answer.
   * A wrong guess costs a dial one hop to a replica that answers `no_agent`.
   */
  #keepAfterFlush(alias: string, readAtMs: number): CachedRoute {
    const last = this.#cache.get(alias);
    const none = { tunnels: [], readAtMs };
    if (last === undefined || last.tunnels.length === 0) return none;
    this.#options.health.dataLost();
    const lostAtMs = last.lostAtMs ?? readAtMs;
    if (readAtMs - lostAtMs > Math.max(this.#options.heartbeatMs, reconnectMs)) return none;
    return { tunnels: last.tunnels, readAtMs, lostAtMs };
  }
}
