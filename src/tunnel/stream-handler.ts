import type { TunnelError } from './errors.ts';

/**
 * Receives the events of a stream. They are callbacks and not promises, because on the data path a
 * promise per piece costs more than the piece (docs/benchmarks.md). They are never called from
 * inside `write`, `fin`, `reset` or `consumed`.
 */
export interface StreamHandler {
  /**
   * The agent has connected to the target. Only at the opener. No other call but `onClose` comes
   * before.
   */
  onOpened?(): void;

  /**
   * A piece of the received bytes, in order, never empty. `bytes` is borrowed: valid until this
   * returns. `Stream.consumed` gives back the window of these bytes, when the reader takes them and
   * not when they arrive.
   */
  onData(bytes: Uint8Array): void;

  /** The other end sends no more bytes (half-close). The own direction stays open. */
  onFin(): void;

  /** `write` returned false before, and there is room again. */
  onWritable(): void;

  /**
   * The other end wants no more bytes (its `stopReceiving`). Bytes that were written and not sent
   * have been dropped, and the own direction has ended. From now on `write` drops its bytes, and
   * `onWritable` is not called.
   */
  onStop?(): void;

  /**
   * The last call. No error: both directions ended in order. Otherwise the stream was refused,
   * reset by either end, or its session was lost; `error.code` has the code that the other end
   * gave.
   */
  onClose(error: TunnelError | undefined): void;
}

/** The verbs on a stream. */
export interface TunnelStream {
  /** Unique within the session; chosen by the dialer. */
  readonly number: number;

  /**
   * Sends `bytes`, which are copied before this returns. It takes all of them. False: stop until
   * `onWritable`, because the window is used up or enough bytes wait. It must not be called before
   * `onOpened`, or after `fin` or the end.
   */
  write(bytes: Uint8Array): boolean;

  /** Half-close: no more is written. Bytes that were written are delivered first. Idempotent. */
  fin(): void;

  /** Ends both directions at once; both handlers get this code and sentence. Idempotent. */
  reset(error: TunnelError): void;

  /** Gives back window, because the reader has taken `bytes` of the bytes that `onData` brought. */
  consumed(bytes: number): void;

  /**
   * Asks the other end to send no more, like QUIC's STOP_SENDING (RFC 9000, section 3.5). `onData`
   * is not called any more, and bytes that still arrive are dropped. The own direction stays open,
   * so that `stopReceiving` and `fin` together are close(2): bytes that were written are delivered,
   * and no more are read. Idempotent.
   */
  stopReceiving(): void;
}
