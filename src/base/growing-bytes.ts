const noMemory = new Uint8Array();

/**
 * Bytes that come in pieces, gathered in one buffer. A peer may send pieces of one byte, and an
 * object for each takes a hundred times as much.
 */
export class GrowingBytes {
  readonly #maxBytes: number;
  #memory = noMemory;
  #length = 0;

  /** @param maxBytes the owner never appends more, so that the buffer need not be larger */
  constructor(maxBytes = Infinity) {
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies a piece. */
  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#memory.length) {
      const larger = new Uint8Array(Math.min(this.#maxBytes, 2 * length));
      larger.set(this.#memory.subarray(0, this.#length));
      this.#memory = larger;
    }
    this.#memory.set(piece, this.#length);
    this.#length = length;
  }

  /** Returns all bytes and forgets them. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#memory.subarray(0, this.#length);
    this.#memory = noMemory;
    this.#length = 0;
    return bytes;
  }
}
