/** Receives the numbers of a dialer's sessions. Names have no prefix. The implementation maps them to a metrics library. */
export interface SessionMetrics {
  /** Registers a count. `read` is called at each scrape. */
  total(name: string, help: string, read: () => number): void;
  /** Registers a histogram and returns a function that adds a value. `buckets` are upper bounds in the unit of the name. */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** Discards all numbers. */
export const noSessionMetrics: SessionMetrics = {
  total() {},
  histogram: () => () => {},
};

/** Upper bounds in seconds, from one round trip of a planned move to the 30 s after which a session ends. */
export const resumeGapBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
