import type { ConnectionRefusal } from './connection-limits.ts';
import type { Logger } from '../log/logger.ts';
import type { LogFields } from '../log/log-field.ts';

/** There is at most one line in this time, in milliseconds: who makes the connections must not fill the log. */
const logEveryMs = 10_000;

/** Counts the connections of a listener that were closed by its limits, and logs how many there were. */
export class ClosedConnections {
  /** How many there were, by reason. */
  readonly byReason = new Map<ConnectionRefusal, number>();
  readonly #log: Logger;
  readonly #unlogged = new Map<ConnectionRefusal, number>();
  #loggedAtMs = -Infinity;

  constructor(log: Logger) {
    this.#log = log;
  }

  add(why: ConnectionRefusal): void {
    this.byReason.set(why, (this.byReason.get(why) ?? 0) + 1);
    this.#unlogged.set(why, (this.#unlogged.get(why) ?? 0) + 1);
  }

  /** Logs what has not been logged, unless there was a line a moment ago. */
  logIfDue(fields: () => LogFields): void {
    const nowMs = performance.now();
    if (this.#unlogged.size === 0 || nowMs - this.#loggedAtMs < logEveryMs) return;
    this.#loggedAtMs = nowMs;
    const closed = Object.fromEntries(this.#unlogged);
    this.#unlogged.clear();
    this.#log.warn('connections closed by their limits', { ...fields(), closed });
  }
}
