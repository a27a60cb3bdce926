/**
 * Where the bridge's numbers go. Names are without a prefix; whoever passes this maps them to a metrics library. Gauges are
 * read when somebody looks, so they are views of what the bridge holds and cannot drift.
 */
export interface BridgeMetrics {
  gauge(name: string, help: string, read: () => number): void;
  /** Returns what counts one more; `label` names what the argument of that stands for. */
  counter(name: string, help: string, label: string): (value: string) => void;
}

/** Counts nothing; for library users who pass no metrics. */
export const noMetrics: BridgeMetrics = {
  gauge() {},
  counter: () => () => {},
};

/** Why a client that showed a certificate of the client CA was turned away all the same. */
export type ClientRefusal = 'agent_certificate';

/** Why a dial failed, in the words of upstream's `dial_failure_count`. */
export type DialFailureReason =
  | 'no_agent'
  | 'error_response'
  | 'backend_close'
  | 'backend_dial_timeout'
  | 'frontend_close';
