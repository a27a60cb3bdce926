/** Where the numbers of a dialer's sessions go. Names are without a prefix; whoever passes this maps them to a metrics library. */
export interface SessionMetrics {
  /** A count that the dialer keeps; it is read when somebody looks. */
  total(name: string, help: string, read: () => number): void;
  /** Returns what takes one more value; `buckets` are upper bounds in the unit that the name ends with. */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** Counts nothing. */
export const noSessionMetrics: SessionMetrics = {
  total() {},
  histogram: () => () => {},
};

/** Upper bounds in seconds: from one round trip of a planned move to the 30 s after which a session is given up. */
export const resumeGapBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
