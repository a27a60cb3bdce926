import type { ByteSink } from './byte-sink.ts';

/**
 * Learns what became of bytes that were given to `send`: one of the two, once. An object, so that
 * no packet needs a closure.
 */
export interface OwnerOfBytes {
  /** The bytes have left the process, or were never queued. Their memory can be used again. */
  onReleased(): void;

  /**
   * The call has ended while the bytes were queued. The kernel may still read them, so their memory
   * must not be used again.
   */
  onAbandoned(): void;
}

/** Bytes that wait by reference until they are copied into the output of a socket. */
export class SendQueue {
  #pieces: Uint8Array[] = [];
  #owners: (OwnerOfBytes | undefined)[] = [];
  /** The first piece that is not copied completely, and how much of it is. */
  #first = 0;
  #offset = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** How many pieces are not copied completely. */
  get pieces(): number {
    return this.#pieces.length - this.#first;
  }

  push(bytes: Uint8Array, owner: OwnerOfBytes | undefined): void {
    this.#pieces.push(bytes);
    this.#owners.push(owner);
    this.#bytes += bytes.length;
  }

  /** Copies the next `count` bytes, and tells the owner of each piece that is copied completely. */
  copyTo(sink: ByteSink, count: number): void {
    let left = count;
    this.#bytes -= count;
    while (this.#first < this.#pieces.length) {
      const piece = this.#pieces[this.#first]!;
      const end = Math.min(piece.length, this.#offset + left);
      sink.copy(piece, this.#offset, end);
      left -= end - this.#offset;
      this.#offset = end;
      if (end < piece.length) return;
      this.#release();
    }
    this.#pieces.length = this.#owners.length = this.#first = 0;
  }

  /** Drops all bytes. */
  clear(): void {
    for (let at = this.#first; at < this.#owners.length; at++) this.#owners[at]?.onAbandoned();
    this.#pieces = [];
    this.#owners = [];
    this.#first = this.#offset = this.#bytes = 0;
  }

  #release(): void {
    const owner = this.#owners[this.#first];
    this.#owners[this.#first] = undefined;
    this.#first++;
    this.#offset = 0;
    // A queue that never becomes empty must not grow.
    if (this.#first >= 64 && this.#first * 2 >= this.#pieces.length) {
      this.#pieces.splice(0, this.#first);
      this.#owners.splice(0, this.#first);
      this.#first = 0;
    }
    owner?.onReleased();
  }
}
