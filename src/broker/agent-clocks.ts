import { notableDifferenceMs, parseTime } from '../base/time-header.ts';
import type { Logger } from '../base/log/logger.ts';

const maxAgents = 1_000;
/** Agents make their tunnels anew every half an hour, so one that was not seen for this long is gone, in milliseconds. */
const forgottenAfterMs = 3_600_000;

interface Seen {
  readonly differenceMs: number;
  readonly atMs: number;
}

/** The agents whose clock differs from this broker's, by what they said of it when they connected last. */
export class AgentClocks {
  readonly #log: Logger;
  readonly #wallClock: () => number;
  readonly #wrong = new Map<string, Seen>();

  /** @param wallClock milliseconds since 1970 */
  constructor(log: Logger, wallClock: () => number = Date.now) {
    this.#log = log;
    this.#wallClock = wallClock;
  }

  /** The time of this broker. */
  now(): Date {
    return new Date(this.#wallClock());
  }

  /** An agent that has proven who it is has said what time it is. @param said what its header holds */
  observe(cluster: string, agent: string, said: string | undefined): void {
    const theirsMs = parseTime(said);
    if (theirsMs === undefined) return;
    const atMs = this.#wallClock();
    const differenceMs = theirsMs - atMs;
    const key = `${cluster}/${agent}`;
    const known = this.#wrong.get(key);
    this.#wrong.delete(key);
    if (Math.abs(differenceMs) <= notableDifferenceMs) return;
    if (known === undefined) {
      const agentAheadS = Math.round(differenceMs / 1000);
      this.#log.warn('the clock of an agent differs', { cluster, agent, agentAheadS });
    }
    this.#wrong.set(key, { differenceMs, atMs });
    const [oldest] = this.#wrong.keys();
    if (this.#wrong.size > maxAgents) this.#wrong.delete(oldest!);
  }

  /** The difference that is the greatest, ahead or behind, in seconds; 0 where all are within 30 s. */
  greatestDifferenceS(): number {
    const oldestMs = this.#wallClock() - forgottenAfterMs;
    let greatestMs = 0;
    for (const [key, { differenceMs, atMs }] of this.#wrong) {
      if (atMs < oldestMs) this.#wrong.delete(key);
      else if (Math.abs(differenceMs) > Math.abs(greatestMs)) greatestMs = differenceMs;
    }
    return greatestMs / 1000;
  }
}
