import { GrowingBytes } from './growing-bytes.ts';

/** Pieces are gathered up to this size. */
const gatheredBytes = 64 * 1024;

/**
 * Bytes that wait for their reader, in order. A peer may send a byte at a time, and an object for
 * each would take hundreds of times as much. So small pieces are gathered.
 */
export class ByteQueue {
  readonly #pieces: GrowingBytes[] = [];
  #bytes = 0;

  /** How many bytes wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies a piece. */
  append(piece: Uint8Array): void {
    if (piece.length === 0) return;
    let last = this.#pieces.at(-1);
    if (last === undefined || last.length + piece.length > gatheredBytes) {
      last = new GrowingBytes(Math.max(gatheredBytes, piece.length));
      this.#pieces.push(last);
    }
    last.append(piece);
    this.#bytes += piece.length;
  }

  /** Removes the first piece and returns it. Undefined: there is none. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    const piece = this.#pieces.shift()?.take();
    this.#bytes -= piece?.length ?? 0;
    return piece;
  }

  /** Drops all bytes. */
  clear(): void {
    this.#pieces.length = 0;
    this.#bytes = 0;
  }
}
