import type { TunnelError } from './errors.ts';

/**
 * What the user of a stream is told. Callbacks rather than promises: this is the data path, and one promise per piece costs
 * more than the piece (docs/benchmarks.md). They are never called from inside `write`, `fin`, `reset` or `consumed`.
 */
export interface StreamHandler {
  /** The agent has connected to the target. Only on the side that opened the stream; nothing but `onClose` comes before. */
  onOpened?(): void;

  /**
   * A piece of what the other end sent, in order, never empty. `bytes` is borrowed: valid until this returns. The window
   * that these bytes took is given back by `Stream.consumed`, when they are taken and not when they arrive.
   */
  onData(bytes: Uint8Array): void;

  /** The other end will send no more (half-close); the own direction stays open. */
  onFin(): void;

  /** `write` returned false before and would take bytes again. */
  onWritable(): void;

  /**
   * The other end wants no more bytes (its `stopReceiving`). What was written and not sent has been dropped, and the own
   * direction has ended. `write` drops what it gets from now on, and `onWritable` is not called any more.
   */
  onStop?(): void;

  /**
   * The last call. No error: both directions ended in order. Otherwise the stream was refused, reset by either end, or its
   * session was lost; `error.code` says which, with the code that the other end gave.
   */
  onClose(error: TunnelError | undefined): void;
}

/** The verbs on a stream. */
export interface TunnelStream {
  /** Unique within the session; chosen by the dialer. */
  readonly number: number;

  /**
   * Sends `bytes`, which are copied before this returns; always takes all of them. False: stop until `onWritable`, the
   * window is used up or enough is waiting already. Before `onOpened` and after `fin` or the end it must not be called.
   */
  write(bytes: Uint8Array): boolean;

  /** Half-close: no more will be written. What was written is delivered first. Idempotent. */
  fin(): void;

  /** Ends both directions at once; the other end's handler gets this code and sentence, the own one too. Idempotent. */
  reset(error: TunnelError): void;

  /** Gives back window: `bytes` of what `onData` brought have been taken by the reader. */
  consumed(bytes: number): void;

  /**
   * Asks the other end to send no more, like QUIC's STOP_SENDING (RFC 9000, section 3.5). `onData` is not called any more:
   * what still arrives is dropped. The own direction stays open, so `stopReceiving` and `fin` together are close(2): what
   * was written is delivered and nothing more is read. Idempotent.
   */
  stopReceiving(): void;
}
