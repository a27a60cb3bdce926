import type { Clock, Timer } from '../../base/clock.ts';
import type { HttpConnection } from './http-connection.ts';

/** Idle connections to one server. More than this are closed. */
const maxIdlePerServer = 64;
/** Idle connections to all servers. */
const maxIdle = 256;
/** How often expired connections are looked for, in milliseconds. */
const sweepMs = 5_000;

/** Connections without a request, by their server. The one that was used last is used first. */
export class ConnectionPool {
  readonly #clock: Clock;
  readonly #idle = new Map<string, HttpConnection[]>();
  #idleCount = 0;
  #sweep: Timer | undefined;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get idleCount(): number {
    return this.#idleCount;
  }

  /** Returns an idle connection; undefined: there is none. */
  take(server: string): HttpConnection | undefined {
    const list = this.#idle.get(server);
    const nowMs = this.#clock.now();
    for (let connection = list?.pop(); connection !== undefined; connection = list?.pop()) {
      this.#idleCount--;
      if (connection.isUsable && connection.expiresAtMs > nowMs) return connection;
      connection.destroy();
    }
    this.#idle.delete(server);
    return undefined;
  }

  put(server: string, connection: HttpConnection): void {
    let list = this.#idle.get(server);
    const isFull = this.#idleCount >= maxIdle || (list?.length ?? 0) >= maxIdlePerServer;
    if (this.#isClosed || isFull || !connection.isUsable || connection.keepMs === 0) {
      return connection.destroy();
    }
    connection.expiresAtMs = this.#clock.now() + connection.keepMs;
    if (list === undefined) this.#idle.set(server, (list = []));
    list.push(connection);
    this.#idleCount++;
    this.#sweep ??= this.#clock.setTimer(sweepMs, this.#onSweep);
  }

  /** Closes the idle connections now, and others when they become idle. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#sweep?.cancel();
    this.#closeUntil(Infinity);
  }

  readonly #onSweep = (): void => {
    this.#sweep = undefined;
    this.#closeUntil(this.#clock.now());
    if (this.#idleCount > 0) this.#sweep = this.#clock.setTimer(sweepMs, this.#onSweep);
  };

  #closeUntil(timeMs: number): void {
    for (const [server, list] of this.#idle) {
      const kept = list.filter(({ expiresAtMs, isUsable }) => isUsable && expiresAtMs > timeMs);
      for (const connection of list) if (!kept.includes(connection)) connection.destroy();
      this.#idleCount -= list.length - kept.length;
      if (kept.length === 0) this.#idle.delete(server);
      else this.#idle.set(server, kept);
    }
  }
}
