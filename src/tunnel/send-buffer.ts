import { frameHeaderBytes } from './frame.ts';
import { type Block, type Slab, type SlabPool, maxDataBytes } from './slab.ts';

/**
 * A write is not cut for fewer bytes than this at the end of a frame or a slab, so that pieces that
 * fit in a frame stay whole (`bulkPieceBytes`).
 */
const minPieceBytes = 1024;

/** A DATA frame in a slab: its payload is the bytes [offset, offset + length) of the stream. */
class Chunk implements Block {
  readonly slab: Slab;
  readonly start: number;
  end: number;
  readonly offset: number;

  constructor(slab: Slab, start: number, offset: number) {
    this.slab = slab;
    this.start = start;
    this.end = start + frameHeaderBytes;
    this.offset = offset;
  }

  get length(): number {
    return this.end - this.start - frameHeaderBytes;
  }

  get endOffset(): number {
    return this.offset + this.length;
  }
}

/**
 * The bytes that were written to a stream and that the other end has not `received` yet. They are
 * copied once, into slabs that are laid out as ready DATA frames, so that a link inside the process
 * sends them as they lie; They stay until the other end acknowledges them, because a session that
 * moves to another link sends them again.
 */
export class SendBuffer {
  readonly #pool: SlabPool;
  #chunks: Chunk[] = [];
  /** Index in `#chunks` of the first chunk that was not acknowledged. Those before it are released. */
  #firstKept = 0;
  /** Index in `#chunks` of the first chunk that was not sent. */
  #nextUnsent = 0;
  /** The last slab of `#chunks`, while another chunk may be put behind its last one. */
  #tail: Slab | undefined;
  /** The slab of the last head that was cut off, and the end of that head. */
  #heads: Slab | undefined;
  #headsEnd = 0;
  #written = 0;
  #sent = 0;
  #received = 0;
  #stopped = false;

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** Offset behind the last byte given. */
  get written(): number {
    return this.#written;
  }

  /** Offset behind the last byte sent on the present link. */
  get sent(): number {
    return this.#sent;
  }

  get unsentBytes(): number {
    return this.#written - this.#sent;
  }

  /** Offset behind the last byte that the other end has acknowledged. */
  get received(): number {
    return this.#received;
  }

  /** Bytes that the other end has not yet acknowledged, sent or not. */
  get keptBytes(): number {
    return this.#written - this.#received;
  }

  /** Copies `bytes` in. */
  append(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const chunk = this.#openChunk(bytes.length - at);
      const spaceBytes = Math.min(
        chunk.slab.bytes.length - chunk.end,
        maxDataBytes - chunk.length,
        bytes.length - at,
      );
      const piece =
        at === 0 && spaceBytes === bytes.length ? bytes : bytes.subarray(at, at + spaceBytes);
      chunk.slab.bytes.set(piece, chunk.end);
      chunk.end += spaceBytes;
      this.#written += spaceBytes;
      at += spaceBytes;
    }
  }

  /**
   * The next frame to send, of at most `creditBytes` of payload; undefined when there is none or no
   * credit. Its header is still to be written, at `start`.
   */
  next(creditBytes: number): Block | undefined {
    const first = this.#chunks[this.#nextUnsent];
    if (first === undefined || creditBytes <= 0) return undefined;
    const chunk = first.length > creditBytes ? this.#split(first, creditBytes) : first;
    this.#nextUnsent++;
    this.#sent = chunk.endOffset;
    return chunk;
  }

  /** The other end has everything before `offset`. */
  acknowledge(offset: number): void {
    this.#received = Math.max(this.#received, Math.min(offset, this.#sent));
    const keptBefore = this.#firstKept;
    for (; this.#firstKept < this.#nextUnsent; this.#firstKept++) {
      const { slab, endOffset } = this.#chunks[this.#firstKept]!;
      if (endOffset > this.#received) break;
      slab.release();
    }
    // Not each time, because a peer may acknowledge many small frames one by one.
    if (this.#firstKept > keptBefore && 2 * this.#firstKept >= this.#chunks.length) {
      this.#forgetReleased();
    }
  }

  /**
   * The other end has everything before `offset` and nothing behind it: bytes that were sent since
   * are sent again. Returns how many they are. They are copied, because a link that is still there
   * may not have written them yet, and would write the header of the next link.
   */
  rewind(offset: number): number {
    if (this.#stopped) {
      this.#received = this.#sent = this.#written = offset;
      return 0;
    }
    const againBytes = this.#sent - offset;
    this.acknowledge(offset);
    this.#forgetReleased();
    const sent = this.#chunks.splice(0, this.#nextUnsent);
    if (this.#chunks.length === 0) this.#dropSlabs();
    this.#chunks.unshift(...this.#copy(sent, offset));
    this.#nextUnsent = 0;
    this.#sent = offset;
    return againBytes;
  }

  /**
   * The other end wants no more bytes. All are forgotten and none is sent again, acknowledged or
   * not. The direction ends at `sent`, which is lower after a `rewind`. Idempotent.
   */
  stop(): void {
    this.#stopped = true;
    this.#dropChunks();
    this.#written = this.#sent;
  }

  /** Forgets everything; the stream has ended. Idempotent. */
  clear(): void {
    this.#dropChunks();
    this.#received = this.#sent = this.#written;
  }

  #forgetReleased(): void {
    const count = this.#firstKept;
    this.#chunks = count === this.#chunks.length ? [] : this.#chunks.slice(count);
    this.#nextUnsent -= count;
    this.#firstKept = 0;
    if (this.#chunks.length === 0) this.#dropSlabs();
  }

  #dropChunks(): void {
    this.#forgetReleased();
    for (const chunk of this.#chunks) chunk.slab.release();
    this.#chunks = [];
    this.#nextUnsent = 0;
    this.#dropSlabs();
  }

  /**
   * A chunk that takes more bytes: the last one while it is unsent, else a new one in the same slab
   * or in a fresh one.
   */
  #openChunk(wantedBytes: number): Chunk {
    const last = this.#chunks.at(-1);
    const tail = this.#tail;
    if (last !== undefined && tail !== undefined) {
      const leftBytes = tail.bytes.length - last.end;
      const isUnsent = this.#nextUnsent < this.#chunks.length;
      const minBytes = Math.min(wantedBytes, minPieceBytes);
      if (isUnsent && Math.min(leftBytes, maxDataBytes - last.length) >= minBytes) return last;
      // Behind a sent frame a new one needs its own header.
      if (leftBytes >= frameHeaderBytes + minBytes) {
        tail.retain();
        return this.#push(tail, last.end);
      }
    }
    this.#dropTail();
    const slab = this.#pool.take(wantedBytes);
    slab.retain();
    this.#tail = slab;
    return this.#push(slab, 0);
  }

  #push(slab: Slab, start: number): Chunk {
    const chunk = new Chunk(slab, start, this.#written);
    this.#chunks.push(chunk);
    return chunk;
  }

  /**
   * Cuts `bytes` off the front of the first unsent chunk and moves them to another slab. The space
   * that they leave takes the header of the rest. So no byte is copied a third time, however small
   * the credit is.
   */
  #split(chunk: Chunk, bytes: number): Chunk {
    const from = chunk.start + frameHeaderBytes;
    const head = this.#newHead(bytes, chunk.offset);
    head.slab.bytes.set(chunk.slab.bytes.subarray(from, from + bytes), head.end);
    head.end += bytes;
    const rest = new Chunk(chunk.slab, chunk.start + bytes, chunk.offset + bytes);
    rest.end = chunk.end;
    this.#chunks.splice(this.#nextUnsent, 1, head, rest);
    return head;
  }

  /**
   * A chunk with room for `bytes`. Heads lie one behind the other, because the other end chooses how
   * small they are, and does not have to acknowledge them.
   */
  #newHead(bytes: number, offset: number): Chunk {
    const needed = frameHeaderBytes + bytes;
    if (this.#heads === undefined || this.#headsEnd + needed > this.#heads.bytes.length) {
      this.#heads?.release();
      this.#heads = this.#pool.take(bytes);
      this.#headsEnd = 0;
    }
    this.#heads.retain();
    const head = new Chunk(this.#heads, this.#headsEnd, offset);
    this.#headsEnd += needed;
    return head;
  }

  /** Moves what `chunks` have from `offset` on to slabs that no other part holds. */
  #copy(chunks: readonly Chunk[], offset: number): Chunk[] {
    const copies: Chunk[] = [];
    const end = chunks.at(-1)?.endOffset ?? offset;
    for (const chunk of chunks) {
      for (let at = Math.max(offset, chunk.offset); at < chunk.endOffset;) {
        let copy = copies.at(-1);
        if (copy === undefined || copy.end === copy.slab.bytes.length) {
          copy = new Chunk(this.#pool.take(Math.min(end - at, maxDataBytes)), 0, at);
          copies.push(copy);
        }
        const from = chunk.end - (chunk.endOffset - at);
        const bytes = Math.min(chunk.end - from, copy.slab.bytes.length - copy.end);
        copy.slab.bytes.set(chunk.slab.bytes.subarray(from, from + bytes), copy.end);
        copy.end += bytes;
        at += bytes;
      }
      chunk.slab.release();
    }
    return copies;
  }

  #dropTail(): void {
    this.#tail?.release();
    this.#tail = undefined;
  }

  /** There is no chunk. */
  #dropSlabs(): void {
    this.#dropTail();
    this.#heads?.release();
    this.#heads = undefined;
  }
}
