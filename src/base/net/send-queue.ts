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

/** Copies of small pieces share memory, which grows with the queue up to this size. */
const maxCopyBytes = 16 * 1024;

/** Bytes that wait by reference until they are copied into the output of a socket. */
export class SendQueue {
  #pieces: Uint8Array[] = [];
  #owners: (OwnerOfBytes | undefined)[] = [];
  /** The first piece that is not copied completely, and how much of it is. */
  #first = 0;
  #offset = 0;
  #bytes = 0;
  /** Memory of the last piece, if that is a copy with room behind it. */
  #copy: Uint8Array | undefined;

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
    this.#copy = undefined;
  }

  /**
   * Copies bytes. A peer may send pieces of one byte, and an object for each would take a hundred
   * times as much, so that later pieces are joined to the last one.
   */
  pushCopy(bytes: Uint8Array): void {
    const copy = this.#copy;
    const last = this.#pieces.length - 1;
    const filled = copy === undefined ? 0 : this.#pieces[last]!.length;
    if (copy !== undefined && filled + bytes.length <= copy.length) {
      copy.set(bytes, filled);
      this.#pieces[last] = copy.subarray(0, filled + bytes.length);
      this.#bytes += bytes.length;
      return;
    }
    const sharedBytes = Math.min(2 * this.#bytes, maxCopyBytes);
    const memory = new Uint8Array(Math.max(bytes.length, sharedBytes));
    memory.set(bytes);
    this.push(memory.subarray(0, bytes.length), undefined);
    this.#copy = memory;
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
    this.#copy = undefined;
  }

  /** Drops all bytes. */
  clear(): void {
    for (let at = this.#first; at < this.#owners.length; at++) this.#owners[at]?.onAbandoned();
    this.#pieces = [];
    this.#owners = [];
    this.#first = this.#offset = this.#bytes = 0;
    this.#copy = undefined;
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
