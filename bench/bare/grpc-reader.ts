import { clientPreface, frameHeaderBytes, FrameType } from '../../src/http2/frame.ts';
import { grpcPrefixBytes } from '../../src/konnectivity/packet.ts';
import { dataStart } from './grpc-frames.ts';

/** A dial, the head of a DATA packet, or the payload of a small frame. */
const scratchBytes = 512;

export interface GrpcReaderOwner {
  /** SETTINGS, PING or WINDOW_UPDATE. The payload is borrowed. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** The head of a DATA frame has come. */
  onDataFrame(streamId: number, bytes: number): void;
  /** A packet that is not DATA; it is borrowed. */
  onPacket(packet: Buffer): void;
  /** `bytes[start..end)` of DATA packets; they are borrowed. */
  onPayload(bytes: Uint8Array, start: number, end: number): void;
}

/**
 * Reads what a Go konnectivity client sends on a connection with one call: the least that a server
 * must read. It trusts the client.
 */
export class GrpcReader {
  readonly #owner: GrpcReaderOwner;
  #skippedBytes = clientPreface.length;
  readonly #head = new Uint8Array(frameHeaderBytes);
  #headBytes = 0;
  #type = 0;
  /** Bytes of the frame that have not come yet. */
  #frameBytes = 0;
  readonly #small = Buffer.alloc(scratchBytes);
  #smallBytes = 0;
  /** Bytes of the message that have not come yet, after its prefix. */
  #messageBytes = 0;
  readonly #message = Buffer.alloc(scratchBytes);
  #keptBytes = 0;
  /** The payload of a DATA packet has begun. */
  #isPayload = false;

  constructor(owner: GrpcReaderOwner) {
    this.#owner = owner;
  }

  read(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#skippedBytes > 0) {
        const count = Math.min(this.#skippedBytes, bytes.length - at);
        this.#skippedBytes -= count;
        at += count;
      } else if (this.#frameBytes === 0) {
        this.#head[this.#headBytes++] = bytes[at++]!;
        if (this.#headBytes === frameHeaderBytes) this.#onFrameHead();
      } else {
        const end = Math.min(bytes.length, at + this.#frameBytes);
        this.#frameBytes -= end - at;
        if (this.#type === FrameType.data) this.#onData(bytes, at, end);
        else this.#onSmall(bytes, at, end);
        at = end;
      }
    }
  }

  #onFrameHead(): void {
    const [high, middle, low, type] = this.#head as unknown as [number, number, number, number];
    this.#headBytes = 0;
    this.#frameBytes = (high << 16) | (middle << 8) | low;
    this.#type = type;
    this.#smallBytes = 0;
    if (type === FrameType.data) {
      this.#owner.onDataFrame(this.#head[8]!, this.#frameBytes);
    } else if (
      type === FrameType.settings ||
      type === FrameType.ping ||
      type === FrameType.windowUpdate
    ) {
      if (this.#frameBytes === 0) this.#onSmallEnd();
    } else {
      this.#skippedBytes = this.#frameBytes;
      this.#frameBytes = 0;
    }
  }

  #onSmall(bytes: Uint8Array, start: number, end: number): void {
    this.#small.set(bytes.subarray(start, end), this.#smallBytes);
    this.#smallBytes += end - start;
    if (this.#frameBytes === 0) this.#onSmallEnd();
  }

  #onSmallEnd(): void {
    const payload = this.#small.subarray(0, this.#smallBytes);
    this.#owner.onFrame(this.#type, this.#head[4]!, this.#head[8]!, payload);
  }

  #onData(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#isPayload) {
        const pieceEnd = Math.min(end, at + this.#messageBytes);
        this.#owner.onPayload(bytes, at, pieceEnd);
        this.#messageBytes -= pieceEnd - at;
        if (this.#messageBytes === 0) this.#isPayload = false;
        at = pieceEnd;
      } else {
        this.#message[this.#keptBytes++] = bytes[at++]!;
        this.#onMessageByte();
      }
    }
  }

  #onMessageByte(): void {
    if (this.#keptBytes < grpcPrefixBytes) return;
    if (this.#keptBytes === grpcPrefixBytes) {
      this.#messageBytes = this.#message.readUInt32BE(1);
      return;
    }
    this.#messageBytes--;
    const packet = this.#message.subarray(grpcPrefixBytes, this.#keptBytes);
    // The first field is the type, which a dial leaves out.
    if (packet[0] === 0x08 && packet[1] === 0x04) {
      this.#isPayload = dataStart(packet, packet.length) > 0;
      if (this.#isPayload) this.#keptBytes = 0;
    } else if (this.#messageBytes === 0) {
      this.#keptBytes = 0;
      this.#owner.onPacket(packet);
    }
  }
}
