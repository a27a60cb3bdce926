/** A stream with bytes in the output of its connection. */
export interface SentListener {
  /** `bytes` and the last parts of `pieces` pieces have left the process. */
  onTaken(bytes: number, pieces: number): void;
}

/**
 * Remembers which stream owns which bytes of the output, in order, so that each stream learns when
 * its bytes have left the process. Parallel arrays, so that a frame allocates nothing.
 */
export class SentLedger {
  readonly #streams: SentListener[] = [];
  readonly #ends: number[] = [];
  readonly #bytes: number[] = [];
  readonly #pieces: number[] = [];
  #first = 0;
  #total = 0;

  /** @param end the total of bytes in the output, with these */
  add(stream: SentListener, end: number, bytes: number, pieces: number): void {
    this.#streams.push(stream);
    this.#ends.push(end);
    this.#bytes.push(bytes);
    this.#pieces.push(pieces);
  }

  /** The first `total` bytes of the output have left the process. True: that is news. */
  taken(total: number): boolean {
    if (total === this.#total) return false;
    this.#total = total;
    while (this.#first < this.#streams.length && this.#ends[this.#first]! <= total) {
      const at = this.#first++;
      this.#streams[at]!.onTaken(this.#bytes[at]!, this.#pieces[at]!);
    }
    if (this.#first === this.#streams.length) this.#clear();
    else if (this.#first >= 256) this.#forget();
    return true;
  }

  #clear(): void {
    this.#streams.length = this.#ends.length = this.#bytes.length = this.#pieces.length = 0;
    this.#first = 0;
  }

  #forget(): void {
    for (const array of [this.#streams, this.#ends, this.#bytes, this.#pieces]) {
      array.splice(0, this.#first);
    }
    this.#first = 0;
  }
}
