import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AgentRecord } from '../directory.ts';
import type { RedisError } from './redis-connection.ts';
import { decodeEntry, type StoredTunnel } from './redis-entry.ts';
import { RouteCache, type Route } from './route-cache.ts';
import type { RedisStore } from './redis-store.ts';
import type { ClaimRenewer } from './claim-renewer.ts';

/** A cached route is used for this long while changes are told, in milliseconds, */
const routeTtlMs = 10_000;
/** and for this long while they are not, or where there was none. */
const unsureTtlMs = 1_000;
/** Within this every replica that lost its connection has it again, in milliseconds. */
const reconnectMs = 5_000;
const maxKeysLogged = 1_000;

export interface RedisRoutesOptions {
  /** Whether Redis tells of changes. */
  readonly hasNotifications: () => boolean;
  readonly store: RedisStore;
  readonly upkeep: ClaimRenewer;
  readonly clock: Clock;
  readonly log: Logger;
  /** Within this every replica has said its claims again, in milliseconds. */
  readonly heartbeatMs: number;
}

/** The tunnels of clusters as other replicas have written them: from the cache while that is fresh, else from Redis. */
export class RedisRoutes {
  readonly #options: RedisRoutesOptions;
  readonly #cache: RouteCache;
  readonly #keysLogged = new Set<string>();

  constructor(options: RedisRoutesOptions) {
    this.#options = options;
    this.#cache = new RouteCache(options.clock);
  }

  /** The last that is known of a cluster, however old. */
  known(alias: string): readonly StoredTunnel[] | undefined {
    return this.#cache.get(alias)?.tunnels;
  }

  /** When a tunnel of the cluster was released last, by the clock, as the last look-up has told. */
  releasedAtMs(alias: string): number | undefined {
    return this.#cache.get(alias)?.releasedAtMs;
  }

  /**
   * The tunnels of a cluster; while Redis is away, those that are known.
   *
   * @throws RedisError Redis is away and nothing is known
   */
  async find(alias: string): Promise<readonly StoredTunnel[]> {
    const fresh = this.#cache.fresh(alias, (route) => this.#maxAgeMs(route));
    if (fresh !== undefined) return fresh.tunnels;
    const { upkeep } = this.#options;
    const known = this.known(alias);
    if (known !== undefined && upkeep.failedLately) return known;
    try {
      return (await this.#cache.load(alias, () => this.#read(alias))).tunnels;
    } catch (thrown) {
      upkeep.failed(thrown as RedisError);
      // It may have changed while we waited.
      const tunnels = this.known(alias);
      if (tunnels === undefined) throw thrown;
      return tunnels;
    }
  }

  /** Something has changed in this cluster. */
  expire(alias: string): void {
    this.#cache.expire(alias);
  }

  /** Anything may have changed. */
  expireAll(): void {
    this.#cache.expireAll();
  }

  /** Does not believe in this tunnel any more unless Redis says so again. */
  drop(alias: string, record: AgentRecord): void {
    this.#cache.drop(alias, record);
  }

  /** Warns of the same key once. */
  warnOnce(key: string, event: string, thrown: unknown): void {
    if (this.#keysLogged.has(key)) return;
    if (this.#keysLogged.size >= maxKeysLogged) this.#keysLogged.clear();
    this.#keysLogged.add(key);
    this.#options.log.warn(event, { key: key.slice(0, 200), error: describeError(thrown) });
  }

  #maxAgeMs(route: Route): number {
    const sure = this.#options.hasNotifications() && route.lostAtMs === undefined;
    if (!sure) return unsureTtlMs;
    return route.tunnels.length > 0 ? routeTtlMs : unsureTtlMs;
  }

  async #read(alias: string): Promise<Route> {
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
   * Redis knows nothing of a cluster. It remembers even those without a tunnel: if it knew of this one, it was flushed or came
   * back empty, and until every replica has had time to say its claims again what it said before is more likely to be true.
   */
  #keepAfterFlush(alias: string, readAtMs: number): Route {
    const last = this.#cache.get(alias);
    const nothing = { tunnels: [], readAtMs };
    if (last === undefined || last.tunnels.length === 0) return nothing;
    this.#options.upkeep.renewNow();
    const lostAtMs = last.lostAtMs ?? readAtMs;
    if (readAtMs - lostAtMs > Math.max(this.#options.heartbeatMs, reconnectMs)) return nothing;
    return { tunnels: last.tunnels, readAtMs, lostAtMs };
  }
}
