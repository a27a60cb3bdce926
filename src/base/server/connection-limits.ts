/** Bounds on the connections of one listener. */
export interface ConnectionLimits {
  /**
   * The largest number of connections. It stays below the limit of open files, so that probes,
   * reloads and dials have descriptors left.
   */
  readonly maxConnections: number;
  /**
   * The largest number of connections that have not shown a credential: in a TLS handshake, sending
   * a request, waiting for its answer, or idle. It is checked after the input of the current turn
   * of the event loop was read.
   */
  readonly maxUnauthenticated: number;
  /** The same limit for one address (IPv6: one /64). Trusted proxies are exempt. */
  readonly maxUnauthenticatedPerAddress: number;
  /**
   * The largest number of connections of one address, with and without a credential. Trusted
   * proxies are exempt. Default: unlimited.
   */
  readonly maxPerAddress?: number;
  /**
   * How long a connection may take to send its next whole request, in milliseconds. The time starts
   * when the connection is accepted, or at the end of the last answer. It includes the TLS
   * handshake.
   */
  readonly requestTimeoutMs: number;
  /**
   * How long a request may take with its whole body, in milliseconds (default `requestTimeoutMs`).
   * Infinity means no limit, for uploads of users. If it is longer than `requestTimeoutMs`, that
   * limit applies to the head only.
   */
  readonly bodyTimeoutMs?: number;
  /**
   * How long a request may take from its head until the client has received the whole answer, in
   * milliseconds. Infinity means no limit.
   */
  readonly answerTimeoutMs: number;
}

/** The reason why the guard closed a connection. */
export type ConnectionRefusal =
  /**
   * The listener had `maxConnections`. The connection had waited longest, or was the newest if no
   * connection waited.
   */
  | 'total'
  /** Too many connections had no credential, and this connection had waited longest. */
  | 'unauthenticated'
  /**
   * Too many connections of one address had no credential, and this connection had waited longest.
   */
  | 'address'
  /** No whole request arrived in time. */
  | 'slow_request'
  /** The client did not receive the whole answer in time. */
  | 'slow_answer'
  /** The client sent several requests at once. */
  | 'pipelined'
  /**
   * The process had no descriptor left. Node closes connections that it cannot accept and does not
   * report them, so this counts the seconds in which it happened.
   */
  | 'accept_failed';
