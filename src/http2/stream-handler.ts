import type { HeaderField } from './hpack-static-table.ts';

/** The service's end of a stream. It is never called from inside a method of the stream. */
export interface Http2StreamHandler {
  /** Bytes of the request's body, in order. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;
  /** The request's body is complete. */
  onEnd(trailers: readonly HeaderField[]): void;
  /** Some sent bytes have left the process. */
  onSent(): void;
  /**
   * The stream has ended. Comes once, as the last event.
   *
   * @param isComplete the whole answer has left the process, and the stream was not reset
   */
  onClose(isComplete: boolean): void;
}
