/**
 * All limits on the client of a connection. A client that exceeds a limit of the connection gets
 * GOAWAY with ENHANCE_YOUR_CALM, unless the limit names another answer.
 */
export interface Http2Limits {
  /** Open streams (SETTINGS_MAX_CONCURRENT_STREAMS). More are refused with REFUSED_STREAM. */
  readonly maxStreams: number;
  /**
   * Streams of the connection's whole life that were refused, because it had `maxStreams` or a head
   * had more than `maxHeaderListBytes`.
   */
  readonly maxRefusedStreams: number;
  /** Receive window of one stream, in bytes (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly windowBytes: number;
  /**
   * Bytes of all paused streams together that have arrived and whose window was not given back.
   * Below it, the window of the connection is given back on arrival, so that streams that are not
   * read never hold up the others. Above it, the client must wait for those streams.
   */
  readonly maxHeldBytes: number;
  /** The largest frame that the client may send (SETTINGS_MAX_FRAME_SIZE). */
  readonly maxFrameBytes: number;
  /** Memory of the dynamic table of HPACK (SETTINGS_HEADER_TABLE_SIZE). */
  readonly maxHeaderTableBytes: number;
  /** Names and values of one request's headers, decoded (SETTINGS_MAX_HEADER_LIST_SIZE). */
  readonly maxHeaderListBytes: number;
  /** Encoded headers of one request, over HEADERS and all CONTINUATION frames. */
  readonly maxHeaderBlockBytes: number;
  /** CONTINUATION frames of one request. Honest clients fill their frames. */
  readonly maxContinuations: number;
  /**
   * Streams that the client may reset in a burst, and per second after that (rapid reset,
   * CVE-2023-44487). Standard konnectivity clients cancel every call that they have finished.
   */
  readonly resetBurst: number;
  readonly resetsPerSecond: number;
  /**
   * Frames without effect on a stream (SETTINGS, PING, PRIORITY, empty DATA, unknown types) in a
   * burst, and per second after that. Each DATA frame with bytes, in either direction, allows one
   * more, because gRPC measures the bandwidth of a transfer with PINGs.
   */
  readonly controlBurst: number;
  readonly controlsPerSecond: number;
  /**
   * Bytes of answers that wait for the client's windows. Beyond it, new streams are refused with
   * REFUSED_STREAM.
   */
  readonly maxUnsentBytes: number;
  /**
   * How long a client may send the rest of a body after the whole answer, in milliseconds. Then the
   * stream ends with RST_STREAM. 0: at once.
   */
  readonly answeredLingerMs: number;
  /** Answers that the client does not read: bytes of output that have not left the process. */
  readonly maxQueuedBytes: number;
}

export const defaultHttp2Limits: Http2Limits = {
  maxStreams: 4096,
  maxRefusedStreams: Infinity,
  windowBytes: 1024 * 1024,
  maxHeldBytes: 64 * 1024 * 1024,
  maxFrameBytes: 16 * 1024,
  maxHeaderTableBytes: 4096,
  maxHeaderListBytes: 32 * 1024,
  maxHeaderBlockBytes: 32 * 1024,
  maxContinuations: 8,
  resetBurst: 10_000,
  resetsPerSecond: 2_000,
  controlBurst: 10_000,
  controlsPerSecond: 1_000,
  // The senders of calls have limits of their own.
  maxUnsentBytes: Infinity,
  // gRPC clients expect RST_STREAM with the answer.
  answeredLingerMs: 0,
  maxQueuedBytes: 1024 * 1024,
};
