import { dataHeaderMaxBytes } from './packet.ts';

/** Payload of a DATA packet that we send: large enough to spare a client's ten slots, far below gRPC's 4 MiB. */
export const maxPayloadBytes = 64 * 1024;
const smallPayloadBytes = 4 * 1024;

/** Memory for one DATA packet to a client: room for its header, then its payload. Belongs to a `PacketBufferPool`. */
export class PacketBuffer {
  readonly bytes: Buffer;
  /** Where the payload ends; it starts at `dataHeaderMaxBytes`. */
  end = dataHeaderMaxBytes;

  constructor(capacityBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(dataHeaderMaxBytes + capacityBytes);
  }

  get payloadBytes(): number {
    return this.end - dataHeaderMaxBytes;
  }

  get roomBytes(): number {
    return this.bytes.length - this.end;
  }

  /** Room for a whole packet, however little of it is used. */
  get isLarge(): boolean {
    return this.bytes.length === dataHeaderMaxBytes + maxPayloadBytes;
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
 * Recycles the buffers of all connections of a bridge: refilling one costs a tenth of allocating it. Two sizes, because an
 * interactive connection must not pin 64 KiB for a few bytes.
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

  /** An empty buffer with room for `payloadBytes`, or for `maxPayloadBytes` where that is less. */
  take(payloadBytes: number): PacketBuffer {
    const isSmall = payloadBytes <= smallPayloadBytes;
    const buffer =
      (isSmall ? this.#small : this.#large).pop() ??
      new PacketBuffer(isSmall ? smallPayloadBytes : maxPayloadBytes);
    buffer.end = dataHeaderMaxBytes;
    this.#inUseBytes += buffer.bytes.length;
    return buffer;
  }

  /** Takes back a buffer that nobody reads any more. */
  recycle(buffer: PacketBuffer): void {
    this.drop(buffer);
    const home = buffer.isLarge ? this.#large : this.#small;
    if ((home.length + 1) * buffer.bytes.length <= this.#keepBytes) home.push(buffer);
  }

  /** Forgets a buffer that the kernel may still be reading; refilling it would show one client's bytes to another. */
  drop(buffer: PacketBuffer): void {
    this.#inUseBytes -= buffer.bytes.length;
  }
}
