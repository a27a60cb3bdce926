/**
 * Every bound on an untrusted peer, in one place. docs/protocol.md, "Limits", has the same table.
 */
export interface TunnelLimits {
  /** Payload of a frame other than DATA, in bytes. */
  readonly maxControlBytes: number;
  /**
   * Payload of a received DATA frame, in bytes. We send at most 64 KiB; a peer may use up to this.
   */
  readonly maxDataFrameBytes: number;
  /** Streams that a dialer may have open in one session. */
  readonly maxStreams: number;
  /** The highest number of a stream. A session that has used it takes no further streams. */
  readonly maxStreamNumber: number;
  /** Receive window that a stream starts with, in bytes. */
  readonly initialWindowBytes: number;
  /** Receive window that a stream may grow to, in bytes. */
  readonly maxWindowBytes: number;
  /**
   * Receive window below which a stream is never opened, even when the budgets are used up, in
   * bytes.
   */
  readonly minWindowBytes: number;
  /**
   * Sum of the receive windows of one session, in bytes. Worst memory of a session = this + what
   * its senders keep, which the peer's budget bounds in the same way.
   */
  readonly sessionBudgetBytes: number;
  /**
   * How long received bytes may go unacknowledged, in milliseconds; the sender keeps them that
   * long.
   */
  readonly ackDelayMs: number;
  /** How long a session without a link lives, in milliseconds. */
  readonly resumeGraceMs: number;
}

export const defaultLimits: TunnelLimits = {
  maxControlBytes: 64 * 1024,
  maxDataFrameBytes: 1024 * 1024,
  maxStreams: 10_000,
  maxStreamNumber: 0xffff_ffff,
  initialWindowBytes: 256 * 1024,
  maxWindowBytes: 16 * 1024 * 1024,
  minWindowBytes: 16 * 1024,
  sessionBudgetBytes: 64 * 1024 * 1024,
  ackDelayMs: 250,
  resumeGraceMs: 30_000,
};

/**
 * Sum of the receive windows of all sessions of a process, in bytes (default of `WindowBudget`).
 */
export const defaultProcessBudgetBytes = 512 * 1024 * 1024;

/**
 * Limits on the payload of a control frame, whatever its fields mean. SYNC has the deepest and
 * longest of our messages: a map of lists of lists, and 4 values for each stream or failure.
 */
export const controlMapLimits = {
  /** Maps and lists inside each other, the outermost map being the first. */
  maxDepth: 3,
  /** Fields of the outermost map. */
  maxFields: 64,
  /** Values at all depths. */
  maxValues: 5000,
} as const;
