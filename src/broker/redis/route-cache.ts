import type { Clock } from '../../base/clock.ts';
import type { AgentRecord } from '../directory.ts';
import { tunnelKey } from '../tunnel-name.ts';
import type { StoredTunnel } from './redis-entry.ts';

/**
 * How many clusters the cache keeps; it forgets the least recently used. Clusters without a tunnel
 * have their own limit, because dialers can ask for any name.
 */
const maxRoutes = 10_000;
const maxAbsent = 1_000;

/** What Redis answered for a cluster. */
export interface CachedRoute {
  readonly tunnels: readonly StoredTunnel[];
  /** When Redis was asked, by the clock; -Infinity: expired. */
  readonly readAtMs: number;
  /** When a tunnel of the cluster was last released, by the clock; undefined: unknown. */
  readonly releasedAtMs?: number;
  /**
   * When Redis was first seen without this cluster's data. Then the tunnels are those of an earlier
   * answer.
   */
  readonly lostAtMs?: number;
}

/**
 * Redis's answers, by the alias of the cluster. Expired answers are kept for the time that Redis is
 * away.
 */
export class RouteCache {
  readonly #clock: Clock;
  readonly #routes = new Map<string, CachedRoute>();
  readonly #absent = new Map<string, CachedRoute>();
  readonly #loading = new Map<string, Promise<CachedRoute>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The last answer, however old. */
  get(alias: string): CachedRoute | undefined {
    return this.#routes.get(alias) ?? this.#absent.get(alias);
  }

  /** The last answer, unless it is older than `maxAgeMs`. */
  fresh(alias: string, maxAgeMs: (route: CachedRoute) => number): CachedRoute | undefined {
    const route = this.get(alias);
    if (route === undefined || this.#clock.now() - route.readAtMs > maxAgeMs(route)) {
      return undefined;
    }
    this.#put(alias, route);
    return route;
  }

  /** Calls `load` once for all callers that ask at the same time. Rejects as `load` does. */
  async load(alias: string, load: () => Promise<CachedRoute>): Promise<CachedRoute> {
    const begun = this.#loading.get(alias);
    if (begun !== undefined) return begun;
    const loading = load();
    this.#loading.set(alias, loading);
    try {
      const route = await loading;
      const known = this.get(alias)?.readAtMs ?? -Infinity;
      if (this.#loading.get(alias) === loading) this.#put(alias, route);
      // The answer expired on the way. It is good enough for the callers that asked before, and
      // until there is a better one.
      else if (known < route.readAtMs) this.#put(alias, { ...route, readAtMs: -Infinity });
      return route;
    } finally {
      if (this.#loading.get(alias) === loading) this.#loading.delete(alias);
    }
  }

  /** The answer for this cluster is no longer fresh. */
  expire(alias: string): void {
    this.#loading.delete(alias);
    this.#absent.delete(alias);
    const route = this.#routes.get(alias);
    if (route !== undefined) this.#routes.set(alias, { ...route, readAtMs: -Infinity });
  }

  /** No answer is fresh any more. */
  expireAll(): void {
    this.#loading.clear();
    this.#absent.clear();
    for (const alias of this.#routes.keys()) this.expire(alias);
  }

  /** Forgets a tunnel with this epoch or an older one, even for the time that Redis is away. */
  drop(alias: string, record: AgentRecord): void {
    this.expire(alias);
    const route = this.#routes.get(alias);
    if (route === undefined) return;
    const field = tunnelKey(record);
    const stays = (tunnel: StoredTunnel) =>
      tunnel.field !== field || tunnel.record.epoch > record.epoch;
    this.#routes.set(alias, { ...route, tunnels: route.tunnels.filter(stays) });
  }

  #put(alias: string, route: CachedRoute): void {
    const [into, other, most] =
      route.tunnels.length > 0
        ? [this.#routes, this.#absent, maxRoutes]
        : [this.#absent, this.#routes, maxAbsent];
    other.delete(alias);
    into.delete(alias);
    into.set(alias, route);
    for (const oldest of into.keys()) {
      if (into.size <= most) break;
      into.delete(oldest);
    }
  }
}
