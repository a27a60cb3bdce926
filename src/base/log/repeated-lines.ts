import type { Clock } from '../clock.ts';

export interface RepeatLimits {
  /** Lines of one event that are written in an interval. Further lines are counted. */
  readonly maxLines: number;
  readonly intervalMs: number;
}

export const defaultRepeatLimits: RepeatLimits = { maxLines: 50, intervalMs: 10_000 };

/** Kinds of lines with a count of their own. Further kinds share one count. */
const maxKinds = 1000;
const otherKinds = 'other kinds';

interface Interval {
  lines: number;
}

/**
 * Keeps a repeated warning from filling the log. A peer can cause as many refusals as it sends
 * requests. So only the first few lines of an interval are written, and at its end one line with
 * the number of lines that were left out.
 */
export class RepeatedLines {
  readonly #clock: Clock;
  readonly #limits: RepeatLimits;
  readonly #intervals = new Map<string, Interval>();

  constructor(clock: Clock, limits: RepeatLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * @param kind lines of the same kind are counted together
   * @returns whether the line is written; if not, `summarize` is called at the end of the interval
   *   with the number of such lines
   */
  admit(kind: string, summarize: (leftOut: number, intervalMs: number) => void): boolean {
    const isFull = this.#intervals.size >= maxKinds && !this.#intervals.has(kind);
    const key = isFull ? otherKinds : kind;
    const found = this.#intervals.get(key);
    if (found !== undefined) return ++found.lines <= this.#limits.maxLines;
    const interval: Interval = { lines: 1 };
    this.#intervals.set(key, interval);
    const { maxLines, intervalMs } = this.#limits;
    this.#clock.setTimer(intervalMs, () => {
      this.#intervals.delete(key);
      if (interval.lines > maxLines) summarize(interval.lines - maxLines, intervalMs);
    });
    return true;
  }
}
