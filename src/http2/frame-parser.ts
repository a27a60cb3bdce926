import {
  clientPreface,
  FrameFlag,
  frameHeaderBytes,
  FrameType,
  max31Bits,
  readUint32,
} from './frame.ts';
import { Http2Error } from './http2-error.ts';

/** Receives the frames of a client in order. All bytes are borrowed: valid until the call returns. */
export interface FrameHandler {
  /**
   * A DATA frame begins. `lengthBytes` counts against both windows. It includes the padding, which
   * is not delivered.
   */
  onDataBegin(streamId: number, lengthBytes: number, flags: number): void;
  /** A part of the frame's data, as it arrived. */
  onDataPiece(bytes: Uint8Array): void;
  onDataEnd(lengthBytes: number, flags: number): void;
  /** Any other frame, as a whole. */
  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void;
}

const noBytes = new Uint8Array(0);

/**
 * Cuts the bytes of a client into frames. DATA is passed on in the pieces in which it arrives.
 * Frames of other types are small, and are assembled if they arrive in several reads.
 */
export class FrameParser {
  readonly #handler: FrameHandler;
  readonly #maxFrameBytes: number;
  #prefaceBytes = 0;
  readonly #header = new Uint8Array(frameHeaderBytes);
  #headerBytes = 0;
  #type = 0;
  #lengthBytes = 0;
  #flags = 0;
  #streamId = 0;
  /** Bytes of the current payload that have not come, without padding for DATA. */
  #leftBytes = 0;
  #paddingBytes = 0;
  #needsPadLength = false;
  #payload = noBytes;
  #payloadBytes = 0;

  /** @param maxFrameBytes the SETTINGS_MAX_FRAME_SIZE that we announce */
  constructor(handler: FrameHandler, maxFrameBytes: number) {
    this.#handler = handler;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** A part of a frame has arrived, and it is not known to be DATA. */
  get isInFrame(): boolean {
    if (this.#headerBytes === frameHeaderBytes) return this.#type !== FrameType.data;
    return this.#headerBytes > 0;
  }

  /** @throws Http2Error the connection cannot continue */
  push(bytes: Uint8Array): void {
    let at = this.#prefaceBytes < clientPreface.length ? this.#readPreface(bytes) : 0;
    while (at < bytes.length) {
      if (this.#headerBytes < frameHeaderBytes) {
        at = this.#readHeader(bytes, at);
        if (this.#headerBytes === frameHeaderBytes) this.#begin();
      } else {
        at = this.#type === FrameType.data ? this.#readData(bytes, at) : this.#read(bytes, at);
      }
    }
  }

  #readPreface(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#prefaceBytes < clientPreface.length) {
      if (bytes[at++] !== clientPreface[this.#prefaceBytes++]) {
        throw new Http2Error('PROTOCOL_ERROR', 'the connection does not begin with the preface');
      }
    }
    return at;
  }

  #readHeader(bytes: Uint8Array, start: number): number {
    let at = start;
    while (at < bytes.length && this.#headerBytes < frameHeaderBytes) {
      this.#header[this.#headerBytes++] = bytes[at++]!;
    }
    return at;
  }

  #begin(): void {
    const header = this.#header;
    const lengthBytes = (header[0]! << 16) | (header[1]! << 8) | header[2]!;
    this.#type = header[3]!;
    this.#flags = header[4]!;
    this.#streamId = readUint32(header, 5) & max31Bits;
    if (lengthBytes > this.#maxFrameBytes) {
      const limit = `the limit is ${this.#maxFrameBytes}`;
      const message = `a frame of type ${this.#type} has ${lengthBytes} bytes, ${limit}`;
      throw new Http2Error('FRAME_SIZE_ERROR', message);
    }
    this.#leftBytes = this.#lengthBytes = lengthBytes;
    if (this.#type === FrameType.data) {
      this.#beginData(lengthBytes);
    } else if (lengthBytes === 0) {
      this.#end(noBytes);
    }
  }

  #beginData(lengthBytes: number): void {
    this.#paddingBytes = 0;
    this.#needsPadLength = (this.#flags & FrameFlag.padded) !== 0;
    if (this.#needsPadLength && lengthBytes === 0) {
      throw new Http2Error('FRAME_SIZE_ERROR', 'a padded DATA frame has no pad length');
    }
    this.#handler.onDataBegin(this.#streamId, lengthBytes, this.#flags);
    if (lengthBytes === 0) this.#endData();
  }

  #readData(bytes: Uint8Array, start: number): number {
    let at = start;
    if (this.#needsPadLength) {
      this.#needsPadLength = false;
      this.#paddingBytes = bytes[at++]!;
      this.#leftBytes -= 1 + this.#paddingBytes;
      if (this.#leftBytes < 0) {
        throw new Http2Error('PROTOCOL_ERROR', 'a DATA frame has more padding than payload');
      }
    }
    const count = Math.min(this.#leftBytes, bytes.length - at);
    if (count > 0) {
      this.#leftBytes -= count;
      this.#handler.onDataPiece(bytes.subarray(at, at + count));
      at += count;
    }
    if (this.#leftBytes === 0) {
      const skipped = Math.min(this.#paddingBytes, bytes.length - at);
      this.#paddingBytes -= skipped;
      at += skipped;
      if (this.#paddingBytes === 0) this.#endData();
    }
    return at;
  }

  #endData(): void {
    this.#headerBytes = 0;
    this.#handler.onDataEnd(this.#lengthBytes, this.#flags);
  }

  #read(bytes: Uint8Array, at: number): number {
    const count = Math.min(this.#leftBytes, bytes.length - at);
    const piece = bytes.subarray(at, at + count);
    const isWhole = this.#payloadBytes === 0 && count === this.#leftBytes;
    if (isWhole) {
      this.#end(piece);
      return at + count;
    }
    if (this.#payloadBytes === 0) this.#payload = new Uint8Array(this.#leftBytes);
    this.#payload.set(piece, this.#payloadBytes);
    this.#payloadBytes += count;
    this.#leftBytes -= count;
    if (this.#leftBytes === 0) this.#end(this.#payload);
    return at + count;
  }

  #end(payload: Uint8Array): void {
    this.#headerBytes = 0;
    this.#payload = noBytes;
    this.#payloadBytes = 0;
    this.#handler.onFrame(this.#type, this.#flags, this.#streamId, payload);
  }
}
