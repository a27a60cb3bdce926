import { FrameFlag, max31Bits, readUint32 } from './frame.ts';
import { Http2Error } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';

/** The complete header block of a HEADERS frame and its CONTINUATION frames. */
export interface HeaderBlock {
  readonly streamId: number;
  readonly isEndOfStream: boolean;
  /** The stream depends on itself, which is an error of this stream. */
  readonly isSelfDependent: boolean;
  /** Encoded with HPACK. Borrowed if it came in one frame. */
  readonly bytes: Uint8Array;
}

/** Assembles header blocks. All errors end the connection, because HPACK's table is shared. */
export class HeaderBlockAssembler {
  readonly #limits: Pick<Http2Limits, 'maxHeaderBlockBytes' | 'maxContinuations'>;
  #begun: HeaderBlock | undefined;
  #fragments: Uint8Array[] = [];
  #bytes = 0;

  constructor(limits: Pick<Http2Limits, 'maxHeaderBlockBytes' | 'maxContinuations'>) {
    this.#limits = limits;
  }

  /** CONTINUATION must come next. */
  get isOpen(): boolean {
    return this.#begun !== undefined;
  }

  /**
   * Takes a HEADERS frame. Returns the block if it is complete.
   *
   * @throws Http2Error
   */
  begin(streamId: number, flags: number, payload: Uint8Array): HeaderBlock | undefined {
    if (streamId % 2 === 0) {
      throw new Http2Error('PROTOCOL_ERROR', `HEADERS for stream ${streamId}`);
    }
    let start = 0;
    let end = payload.length;
    if ((flags & FrameFlag.padded) !== 0) end -= payload[start++] ?? end + 1;
    let isSelfDependent = false;
    if ((flags & FrameFlag.priority) !== 0) {
      if (payload.length >= start + 5) {
        isSelfDependent = (readUint32(payload, start) & max31Bits) === streamId;
      }
      start += 5;
    }
    if (start > end) {
      throw new Http2Error('PROTOCOL_ERROR', 'HEADERS has more padding than payload');
    }
    const isEndOfStream = (flags & FrameFlag.endStream) !== 0;
    const block = { streamId, isEndOfStream, isSelfDependent, bytes: payload.subarray(start, end) };
    this.#checkSize(block.bytes.length);
    if ((flags & FrameFlag.endHeaders) !== 0) return block;
    this.#begun = block;
    this.#fragments = [Uint8Array.from(block.bytes)];
    this.#bytes = block.bytes.length;
    return undefined;
  }

  /**
   * Takes a CONTINUATION frame. Returns the block if it is complete.
   *
   * @throws Http2Error
   */
  continue(streamId: number, flags: number, payload: Uint8Array): HeaderBlock | undefined {
    const begun = this.#begun;
    if (begun === undefined || begun.streamId !== streamId) {
      throw new Http2Error('PROTOCOL_ERROR', `CONTINUATION of stream ${streamId} without HEADERS`);
    }
    // The first fragment is that of HEADERS.
    if (this.#fragments.length > this.#limits.maxContinuations) {
      const message = `more than ${this.#limits.maxContinuations} CONTINUATION frames`;
      throw new Http2Error('ENHANCE_YOUR_CALM', message);
    }
    this.#bytes += payload.length;
    this.#checkSize(this.#bytes);
    this.#fragments.push(Uint8Array.from(payload));
    if ((flags & FrameFlag.endHeaders) === 0) return undefined;
    const bytes = Buffer.concat(this.#fragments);
    this.#begun = undefined;
    this.#fragments = [];
    return { ...begun, bytes };
  }

  #checkSize(bytes: number): void {
    const { maxHeaderBlockBytes } = this.#limits;
    if (bytes <= maxHeaderBlockBytes) return;
    const message = `a header block has more than ${maxHeaderBlockBytes} bytes`;
    throw new Http2Error('ENHANCE_YOUR_CALM', message);
  }
}
