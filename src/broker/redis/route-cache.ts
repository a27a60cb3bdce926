import type { Clock } from '../../base/clock.ts';
import type { AgentRecord } from '../directory.ts';
import { fieldOf, type StoredTunnel } from './redis-entry.ts';

/** The least recently used clusters beyond these are forgotten. Those without a tunnel, which anybody can ask for, apart. */
const maxRoutes = 10_000;
const maxAbsent = 1_000;

/** What Redis said of a cluster. */
export interface Route {
  readonly tunnels: readonly StoredTunnel[];
  /** When, by the clock. */
  readonly readAtMs: number;
  /** When a tunnel of the cluster was released last, by the clock; undefined: not known. */
  readonly releasedAtMs?: number;
  /** Since when Redis knows nothing of this cluster any more, and these tunnels are only what it said before. */
  readonly lostAtMs?: number;
}

/** What Redis said lately, by the alias of the cluster. Even what is not fresh is kept, for the time that Redis is away. */
export class RouteCache {
  readonly #clock: Clock;
  readonly #routes = new Map<string, Route>();
  readonly #absent = new Map<string, Route>();
  readonly #loading = new Map<string, Promise<Route>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The last that is known, however old. */
  get(alias: string): Route | undefined {
    return this.#routes.get(alias) ?? this.#absent.get(alias);
  }

  /** What is known, not older than `maxAgeMs` says. */
  fresh(alias: string, maxAgeMs: (route: Route) => number): Route | undefined {
    const route = this.get(alias);
    if (route === undefined || this.#clock.now() - route.readAtMs > maxAgeMs(route)) {
      return undefined;
    }
    this.#put(alias, route);
    return route;
  }

  /** Asks by `load`, once for all who ask at the same time. Rejects as `load` does. */
  async load(alias: string, load: () => Promise<Route>): Promise<Route> {
    const begun = this.#loading.get(alias);
    if (begun !== undefined) return begun;
    const loading = load();
    this.#loading.set(alias, loading);
    try {
      const route = await loading;
      const known = this.get(alias)?.readAtMs ?? -Infinity;
      if (this.#loading.get(alias) === loading) this.#put(alias, route);
      // It expired on the way: good enough for those who asked before, and while there is nothing better.
      else if (known < route.readAtMs) this.#put(alias, { ...route, readAtMs: -Infinity });
      return route;
    } finally {
      if (this.#loading.get(alias) === loading) this.#loading.delete(alias);
    }
  }

  /** What is known of this cluster is not fresh any more. */
  expire(alias: string): void {
    this.#loading.delete(alias);
    this.#absent.delete(alias);
    const route = this.#routes.get(alias);
    if (route !== undefined) this.#routes.set(alias, { ...route, readAtMs: -Infinity });
  }

  /** Nothing is fresh any more. */
  expireAll(): void {
    this.#loading.clear();
    this.#absent.clear();
    for (const alias of this.#routes.keys()) this.expire(alias);
  }

  /** Forgets a tunnel, this claim or an older one, even for the time that Redis is away. */
  drop(alias: string, record: AgentRecord): void {
    this.expire(alias);
    const route = this.#routes.get(alias);
    if (route === undefined) return;
    const field = fieldOf(record);
    const stays = (tunnel: StoredTunnel) =>
      tunnel.field !== field || tunnel.record.epoch > record.epoch;
    this.#routes.set(alias, { ...route, tunnels: route.tunnels.filter(stays) });
  }

  #put(alias: string, route: Route): void {
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
