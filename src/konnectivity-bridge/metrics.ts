/**
 * Receives the bridge's metrics. Names have no prefix, and the caller maps them to a metrics
 * library. Gauges are read at each scrape, so they show what the bridge holds and cannot drift.
 */
export interface BridgeMetrics {
  gauge(name: string, help: string, read: () => number): void;
  /** Returns a function that adds one. Its argument is the value of the label `label`. */
  counter(name: string, help: string, label: string): (value: string) => void;
  /** Returns a function that records one value. `buckets` are upper bounds. */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** Discards all metrics, for library users who pass none. */
export const noMetrics: BridgeMetrics = {
  gauge() {},
  counter: () => () => {},
  histogram: () => () => {},
};

/** Why a dial failed, in the words of upstream's `dial_failure_count`. */
export type DialFailureReason =
  | 'no_agent'
  | 'error_response'
  | 'backend_close'
  | 'backend_dial_timeout'
  | 'frontend_close';
