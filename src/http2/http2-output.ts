import type { ByteSink } from '../base/net/byte-sink.ts';

/** The sending half of the client's socket. Everything is copied into `output`. */
export interface Http2Output {
  readonly output: ByteSink & {
    /** Bytes that have not left the process. */
    readonly queuedBytes: number;
    /** Bytes that were copied since the connection began. */
    readonly totalBytes: number;
  };
  /** How many more bytes of streams may be copied now. */
  readonly room: number;
  /** Bytes of a stream were copied. */
  written(): void;
  /** Sends what was copied at the end of the turn. */
  planTurn(): void;
  /** Streams have bytes: calls the connection's `pull` when there is room. */
  wake(): void;
}
