import type { ConnectionRefusal } from './connection-limits.ts';
import type { Logger } from '../log/logger.ts';
import type { LogFields } from '../log/log-field.ts';

/**
 * The shortest time between two log lines, in milliseconds, so that an attacker cannot fill the
 * log.
 */
const logEveryMs = 10_000;

/** Counts the connections that the limits of a listener closed, and logs their number. */
export class ClosedConnections {
  /** The number of closed connections, by reason. */
  readonly byReason = new Map<ConnectionRefusal, number>();
  readonly #log: Logger;
  readonly #unlogged = new Map<ConnectionRefusal, number>();
  #loggedAtMs = -Infinity;

  constructor(log: Logger) {
    this.#log = log;
  }

  add(reason: ConnectionRefusal): void {
    this.byReason.set(reason, (this.byReason.get(reason) ?? 0) + 1);
    this.#unlogged.set(reason, (this.#unlogged.get(reason) ?? 0) + 1);
  }

  /** Logs the connections that are not logged yet, unless the last line is too recent. */
  logIfDue(fields: () => LogFields): void {
    const nowMs = performance.now();
    if (this.#unlogged.size === 0 || nowMs - this.#loggedAtMs < logEveryMs) return;
    this.#loggedAtMs = nowMs;
    const closed = Object.fromEntries(this.#unlogged);
    this.#unlogged.clear();
    this.#log.warn('connections closed by their limits', { ...fields(), closed });
  }
}
