import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ByteSink } from './byte-sink.ts';
import { OutputSlab } from './output-slab.ts';

/**
 * Encryption cuts a write into records of this size. A small record at the end costs each end as
 * much as a full one.
 */
const tlsRecordBytes = 16 * 1024;

/** Bytes of an output slab, in the order in which they are sent. */
interface Segment {
  readonly bytes: Buffer;
  readonly memory: OutputSlab;
}

/** The user of an output. */
export interface OutputOwner {
  /** The socket had to wait, and has taken everything now. */
  onTaken(): void;
}

/**
 * Gathers the output of a socket: pieces are copied one behind the other into recycled slabs. At
 * most one batch is with the socket at a time. Bytes that come meanwhile wait here, where more can
 * be gathered behind them.
 */
export class SocketOutput implements ByteSink {
  readonly #socket: Socket;
  readonly #isTls: boolean;
  readonly #owner: OutputOwner;
  #slab: OutputSlab | undefined;
  /** The end of the last segment in the slab. */
  #sealed = 0;
  #filled = 0;
  #waiting: Segment[] = [];
  #waitingBytes = 0;
  #inFlight: Segment[] = [];
  #inFlightBytes = 0;
  #destroyed = false;
  /** Bytes of the whole life of this output. */
  totalBytes = 0;
  readonly #written = (): void => this.#endWrite();

  constructor(socket: Socket, owner: OutputOwner) {
    this.#socket = socket;
    this.#isTls = socket instanceof TLSSocket;
    this.#owner = owner;
  }

  /** Bytes not yet given to the socket. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Bytes that have not left the process. */
  get queuedBytes(): number {
    return this.#waitingBytes + this.#inFlightBytes;
  }

  /**
   * Makes room for `bytes` in one piece (at most a slab's), to be written with `slabBytes` and
   * `fill`.
   */
  reserve(bytes: number): number {
    if (this.#slab !== undefined && this.#filled + bytes > this.#slab.bytes.length) {
      this.#leaveSlab();
    }
    if (this.#slab === undefined) {
      this.#slab = OutputSlab.take(bytes);
      this.#sealed = this.#filled = this.#slab.usedBytes;
    }
    return this.#filled;
  }

  /** The memory that `reserve` returned a position in. */
  get slabBytes(): Uint8Array {
    return this.#slab!.bytes;
  }

  /** Counts `bytes` that were written at the reserved position. */
  fill(bytes: number): void {
    this.#filled += bytes;
    this.#waitingBytes += bytes;
    this.totalBytes += bytes;
  }

  /** Copies `from[start..end)` behind the rest. */
  copy(from: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end;) at += this.copyPiece(from, at, end);
  }

  /**
   * Copies as much of `from[start..end)` as fits into one piece of memory, where `reserve(1)` has
   * just been. Returns how many bytes that were.
   */
  copyPiece(from: Uint8Array, start: number, end: number): number {
    const position = this.reserve(1);
    const into = this.slabBytes;
    const count = Math.min(end - start, into.length - position);
    const isWhole = start === 0 && count === from.length;
    into.set(isWhole ? from : from.subarray(start, start + count), position);
    this.fill(count);
    return count;
  }

  /**
   * Gives the socket the bytes that wait, if it has taken the last batch.
   *
   * @param more the turn brings more bytes, so that an incomplete TLS record may wait for them
   *   (with frames over 16 KiB that saves a quarter of the CPU time at both ends)
   * @returns how many bytes left the process at once
   */
  flush(more = false): number {
    if (this.#inFlight.length > 0 || this.#waitingBytes === 0 || this.#destroyed) return 0;
    this.#seal(more && this.#isTls ? tlsRecordBytes : 1);
    if (this.#waiting.length === 0) return 0;
    // Node's TLS copies several pieces into fresh memory before it encrypts them, so there one
    // piece at a time.
    if (this.#isTls || this.#waiting.length === 1) {
      const segment = this.#waiting.shift()!;
      this.#inFlight.push(segment);
      this.#inFlightBytes = segment.bytes.length;
      this.#waitingBytes -= segment.bytes.length;
      this.#socket.write(segment.bytes, this.#written);
    } else {
      [this.#inFlight, this.#waiting] = [this.#waiting, this.#inFlight];
      this.#inFlightBytes = this.#waitingBytes;
      this.#waitingBytes = 0;
      this.#writeAll(this.#inFlight);
    }
    const givenBytes = this.#inFlightBytes;
    return this.#settle() ? givenBytes : 0;
  }

  /** Leaves the slab to other outputs when all of its bytes were given to the socket. */
  rest(): void {
    if (this.#slab === undefined || this.#filled > this.#sealed) return;
    OutputSlab.leave(this.#slab, this.#filled);
    this.#slab = undefined;
  }

  /** The socket is closed: frees all memory. */
  destroy(): void {
    this.#destroyed = true;
    for (const segment of this.#waiting) segment.memory.release();
    for (const segment of this.#inFlight) segment.memory.release();
    this.#waiting = [];
    this.#inFlight = [];
    this.#waitingBytes = this.#inFlightBytes = 0;
    this.#slab?.release();
    this.#slab = undefined;
  }

  #writeAll(segments: readonly Segment[]): void {
    this.#socket.cork();
    for (const segment of segments) this.#socket.write(segment.bytes, this.#written);
    this.#socket.uncork();
  }

  /** Makes a segment of the bytes behind the last one, cut to a multiple of `unitBytes`. */
  #seal(unitBytes = 1): void {
    const end = this.#filled - ((this.#filled - this.#sealed) % unitBytes);
    if (end === this.#sealed) return;
    const slab = this.#slab!;
    slab.retain();
    this.#waiting.push({ bytes: slab.bytes.subarray(this.#sealed, end), memory: slab });
    this.#sealed = end;
  }

  #leaveSlab(): void {
    this.#seal();
    this.#slab!.release();
    this.#slab = undefined;
  }

  /** Frees the batch in flight if the socket has taken all of it. */
  #settle(): boolean {
    if (this.#socket.writableLength > 0) return false;
    for (const segment of this.#inFlight) segment.memory.release();
    this.#inFlight.length = 0;
    this.#inFlightBytes = 0;
    // Writing the same memory again, which is still in the cache, is faster than alternating
    // between two slabs.
    if (this.#slab !== undefined && this.#slab.isOnlyOnce && this.#filled === this.#sealed) {
      this.#sealed = this.#filled = 0;
    }
    return true;
  }

  #endWrite(): void {
    // A write that was taken at once has been settled by `flush` already, and its callback comes
    // late.
    if (this.#inFlight.length > 0 && this.#settle()) this.#owner.onTaken();
  }
}
