import { notableDifferenceMs, parseTime } from '../base/time-header.ts';
import type { Logger } from '../base/log/logger.ts';

const maxAgents = 1_000;
/**
 * Agents replace their tunnels every half an hour, so an agent that was not seen for this long is
 * gone, in milliseconds.
 */
const forgottenAfterMs = 3_600_000;

interface Seen {
  readonly differenceMs: number;
  readonly atMs: number;
}

/** The agents whose clock differs from this broker's, as measured when they last connected. */
export class AgentClocks {
  readonly #log: Logger;
  readonly #wallClock: () => number;
  readonly #wrong = new Map<string, Seen>();

  /** @param wallClock milliseconds since 1970 */
  constructor(log: Logger, wallClock: () => number = Date.now) {
    this.#log = log;
    this.#wallClock = wallClock;
  }

  /** This broker's time of day. */
  now(): Date {
    return new Date(this.#wallClock());
  }

  /** Compares the clock of an authenticated agent. @param header the value of its time header */
  observe(cluster: string, agent: string, header: string | undefined): void {
    const theirsMs = parseTime(header);
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

  /**
   * The greatest difference, ahead (positive) or behind (negative), in seconds; 0: all are within
   * 30 s.
   */
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
