import { frameHeaderBytes } from './frame.ts';

/** The payload of one DATA frame never exceeds this: one bulk stream must not delay another's byte (docs/protocol.md). */
export const maxDataBytes = 64 * 1024;

const largeSlabBytes = maxDataBytes + frameHeaderBytes;
const smallSlabBytes = 4 * 1024;

/**
 * A recycled piece of memory with a reference count. A stream holds a reference while the peer may still need its
 * bytes; a link holds one while the kernel may still read them. The last `release` gives it back to its pool.
 */
export class Slab {
  readonly bytes: Uint8Array;
  readonly #home: Uint8Array[];
  readonly #pool: SlabPool;
  #references = 0;

  constructor(bytes: Uint8Array, home: Uint8Array[], pool: SlabPool) {
    this.bytes = bytes;
    this.#home = home;
    this.#pool = pool;
  }

  retain(): void {
    this.#references++;
  }

  release(): void {
    if (--this.#references === 0) this.#pool.recycle(this.bytes, this.#home);
  }
}

/**
 * Hands out slabs of two sizes: small ones for a few bytes (an interactive stream must not pin 64 KiB), large ones for bulk.
 * Refilling a recycled slab costs a tenth of allocating one (docs/benchmarks.md).
 */
export class SlabPool {
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];
  readonly #keepBytes: number;
  #inUseBytes = 0;

  /** @param keepBytes how much free memory the pool keeps for reuse (default 32 MiB) */
  constructor(keepBytes = 32 * 1024 * 1024) {
    this.#keepBytes = keepBytes;
  }

  /** Bytes of all slabs that somebody holds. */
  get inUseBytes(): number {
    return this.#inUseBytes;
  }

  /** A slab with one reference, with room for at least a frame of `payloadBytes` where that is at most `maxDataBytes`. */
  take(payloadBytes: number): Slab {
    const small = payloadBytes + frameHeaderBytes <= smallSlabBytes;
    const home = small ? this.#small : this.#large;
    const sizeBytes = small ? smallSlabBytes : largeSlabBytes;
    const slab = new Slab(home.pop() ?? new Uint8Array(sizeBytes), home, this);
    this.#inUseBytes += sizeBytes;
    slab.retain();
    return slab;
  }

  /** Called by the last `release` of a slab. */
  recycle(bytes: Uint8Array, home: Uint8Array[]): void {
    this.#inUseBytes -= bytes.length;
    if ((home.length + 1) * bytes.length <= this.#keepBytes) home.push(bytes);
  }
}

/** One frame in a slab: its header begins at `start`, and its payload ends before `end`. */
export interface Block {
  readonly slab: Slab;
  readonly start: number;
  readonly end: number;
}
