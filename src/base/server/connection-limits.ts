/** Bounds on the connections of one listener. */
export interface ConnectionLimits {
  /** Connections in total, at any time. It stays below the limit of open files, so that probes, reloads and dials have descriptors left. */
  readonly maxConnections: number;
  /** Connections beyond a moment that have not shown a credential yet: in a TLS handshake, sending a request, waiting for its answer, or idle. */
  readonly maxUnauthenticated: number;
  /** The same for one address (IPv6: one /64). Trusted proxies are exempt. */
  readonly maxUnauthenticatedPerAddress: number;
  /** Connections of one address, with and without a credential. Trusted proxies are exempt. Default: unlimited. */
  readonly maxPerAddress?: number;
  /**
   * How long a connection may take to its next whole request, in milliseconds: from when it was accepted, or from the end of the last
   * answer. The TLS handshake is a part of it.
   */
  readonly requestTimeoutMs: number;
  /**
   * How long a request may take with its whole body, in milliseconds; Infinity: no limit, for uploads of users
   * (default `requestTimeoutMs`). Where it is longer, `requestTimeoutMs` is for the head alone.
   */
  readonly bodyTimeoutMs?: number;
  /** How long a request may take from its head until the client has taken the whole answer, in milliseconds; Infinity: no limit. */
  readonly answerTimeoutMs: number;
}

/** Why a connection was closed by its guard. */
export type ConnectionRefusal =
  /** The listener had `maxConnections`; it was the one that had waited longest, or came last where none waited. */
  | 'total'
  /** It was the one that had waited longest when there were too many without a credential. */
  | 'unauthenticated'
  /** The same, for one address. */
  | 'address'
  /** No whole request came in time. */
  | 'slow_request'
  /** The client did not take the answer in time. */
  | 'slow_answer'
  /** It sent several requests at once. */
  | 'pipelined'
  /**
   * The process had no descriptor left. Node closes what it cannot accept and does not say so, so this counts the seconds in which that
   * was so.
   */
  | 'accept_failed';
