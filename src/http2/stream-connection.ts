import type { Http2ErrorCode } from './http2-error.ts';
import type { Http2Output } from './http2-output.ts';

/** The connection of its streams. */
export interface StreamConnection<Stream> {
  readonly output: Http2Output;
  /** Writes HEADERS. `isEnd` ends our half. */
  writeHeaders(stream: Stream, block: Uint8Array, isEnd: boolean): void;
  /** Copies bytes into the output, unless other streams wait. Returns how many were copied. */
  sendNow(stream: Stream, bytes: Uint8Array): number;
  /** The stream may have something to send. */
  streamReady(stream: Stream): void;
  /** Our half was copied into the output completely. */
  streamFinished(stream: Stream): void;
  /** Our half has left the process, and nobody reads the client's half, which is not complete. */
  streamAnswered(stream: Stream): void;
  /** The stream has ended in order. */
  streamClosed(stream: Stream): void;
  /** Ends the stream with RST_STREAM. */
  resetStream(stream: Stream, code: Http2ErrorCode): void;
  /** Writes WINDOW_UPDATE for the stream. */
  giveBack(stream: Stream, increment: number): void;
  /** The bytes that arrived for paused streams have changed by `bytes`. */
  heldChanged(bytes: number): void;
  /** The bytes that wait in the queues of streams have changed by `bytes`. */
  unsentChanged(bytes: number): void;
  /** Copied bytes of the stream are in the output up to its current end. */
  track(stream: Stream, bytes: number, pieces: number): void;
}
