import { bulkPieceBytes } from '../base/bulk-piece-bytes.ts';
import type { OwnerOfBytes } from '../base/net/send-queue.ts';
import { dataHeaderMaxBytes } from './packet.ts';

/**
 * Largest payload of a DATA packet that we send, half of a DATA frame of the tunnel. Large, because a
 * client has ten slots for packets. Not larger, because grpc-go takes a message of more than 32 KiB
 * into a buffer of 1 MiB, which it clears first (its `mem` package), and that costs a Go client a
 * sixth of its CPU.
 */
export const maxPayloadBytes = bulkPieceBytes / 2;
const smallPayloadBytes = 4 * 1024;

/**
 * Memory of a pool for one DATA packet to a client: room for its header, then its payload. As an
 * `OwnerOfBytes` it returns to its pool when a front has sent it.
 */
export class PacketBuffer implements OwnerOfBytes {
  readonly bytes: Buffer;
  /** Where the payload ends. It starts at `dataHeaderMaxBytes`. */
  end = dataHeaderMaxBytes;
  readonly #pool: PacketBufferPool;

  constructor(pool: PacketBufferPool, capacityBytes: number) {
    this.#pool = pool;
    this.bytes = Buffer.allocUnsafeSlow(dataHeaderMaxBytes + capacityBytes);
  }

  get payloadBytes(): number {
    return this.end - dataHeaderMaxBytes;
  }

  get roomBytes(): number {
    return this.bytes.length - this.end;
  }

  /** Whether there is room for a packet of the largest size. */
  get isLarge(): boolean {
    return this.bytes.length === dataHeaderMaxBytes + maxPayloadBytes;
  }

  onReleased(): void {
    this.#pool.recycle(this);
  }

  onAbandoned(): void {
    this.#pool.drop(this);
  }

  /** Copies `from[at..]` as far as there is room; returns how many bytes that were. */
  append(from: Uint8Array, at: number): number {
    const length = Math.min(this.roomBytes, from.length - at);
    const whole = length === from.length;
    this.bytes.set(whole ? from : from.subarray(at, at + length), this.end);
    this.end += length;
    return length;
  }
}

/**
 * Recycles the buffers of all connections of a bridge, because refilling a buffer costs a tenth of
 * allocating it. It has two sizes, because an interactive connection must not pin 32 KiB for a few
 * bytes.
 */
export class PacketBufferPool {
  readonly #small: PacketBuffer[] = [];
  readonly #large: PacketBuffer[] = [];
  readonly #keepBytes: number;
  #inUseBytes = 0;

  /** @param keepBytes how much free memory is kept for reuse, per size (default 16 MiB) */
  constructor(keepBytes = 16 * 1024 * 1024) {
    this.#keepBytes = keepBytes;
  }

  /** Bytes of all buffers that are being filled, held or sent. */
  get inUseBytes(): number {
    return this.#inUseBytes;
  }

  /** An empty buffer with room for `payloadBytes`, but at most for `maxPayloadBytes`. */
  take(payloadBytes: number): PacketBuffer {
    const isSmall = payloadBytes <= smallPayloadBytes;
    const buffer =
      (isSmall ? this.#small : this.#large).pop() ??
      new PacketBuffer(this, isSmall ? smallPayloadBytes : maxPayloadBytes);
    buffer.end = dataHeaderMaxBytes;
    this.#inUseBytes += buffer.bytes.length;
    return buffer;
  }

  /** Takes back a buffer that is no longer read. */
  recycle(buffer: PacketBuffer): void {
    this.drop(buffer);
    const home = buffer.isLarge ? this.#large : this.#small;
    if ((home.length + 1) * buffer.bytes.length <= this.#keepBytes) home.push(buffer);
  }

  /**
   * Drops a buffer that the kernel may still read. Refilling it would show one client's bytes to
   * another client.
   */
  drop(buffer: PacketBuffer): void {
    this.#inUseBytes -= buffer.bytes.length;
  }
}
