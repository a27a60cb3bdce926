import { FrameFlag, FrameType, max31Bits, readUint32 } from './frame.ts';
import { type FrameHandler, FrameParser } from './frame-parser.ts';
import { type HeaderBlock, HeaderBlockAssembler } from './header-block.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import type { HeaderField } from './hpack-static-table.ts';
import { Http2Error, type Http2ErrorCode } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import type { RateLimit } from './rate-limit.ts';

/** The decoded header block of a request, or its trailers. */
export interface ReceivedHeaders {
  readonly streamId: number;
  readonly isEndOfStream: boolean;
  readonly fields: readonly HeaderField[];
  /** The block is an error of its stream. HPACK's table is still valid. */
  readonly problem: Http2ErrorCode | undefined;
}

/** The frames of a client, with lengths and flags checked. All bytes are borrowed. */
export interface FrameEvents {
  /** See `FrameHandler.onDataBegin`. */
  onDataBegin(streamId: number, lengthBytes: number): void;
  onDataPiece(bytes: Uint8Array): void;
  onDataEnd(lengthBytes: number, isEndOfStream: boolean): void;
  onHeaders(headers: ReceivedHeaders): void;
  onWindowUpdate(streamId: number, increment: number): void;
  onRstStream(streamId: number): void;
  /** SETTINGS without ACK. */
  onSettings(payload: Uint8Array): void;
  onPing(payload: Uint8Array, isAck: boolean): void;
  /** PRIORITY is ignored, but it can be an error of its stream. */
  onPriorityProblem(streamId: number, code: Http2ErrorCode): void;
}

/**
 * Checks the frames of a client as far as that is possible without the state of their streams (RFC
 * 9113, sections 4 and 6), and decodes headers.
 */
export class FrameReceiver implements FrameHandler {
  readonly #events: FrameEvents;
  readonly #parser: FrameParser;
  readonly #blocks: HeaderBlockAssembler;
  readonly #hpack: HpackDecoder;
  /** Frames without effect on a stream. */
  readonly #controls: RateLimit;
  #hasSettings = false;

  constructor(events: FrameEvents, limits: Http2Limits, controls: RateLimit) {
    this.#events = events;
    this.#parser = new FrameParser(this, limits.maxFrameBytes);
    this.#blocks = new HeaderBlockAssembler(limits);
    this.#hpack = new HpackDecoder({
      maxTableBytes: limits.maxHeaderTableBytes,
      maxHeaderListBytes: limits.maxHeaderListBytes,
    });
    this.#controls = controls;
  }

  /** A frame or a header block is incomplete, except for DATA. */
  get isInHead(): boolean {
    return this.#blocks.isOpen || this.#parser.isInFrame;
  }

  /** @throws Http2Error of the connection */
  push(bytes: Uint8Array): void {
    this.#parser.push(bytes);
  }

  onDataBegin(streamId: number, lengthBytes: number, flags: number): void {
    this.#checkOrder(FrameType.data);
    // A padded frame may be padding alone.
    const isEmpty = lengthBytes === 0 || (flags & FrameFlag.padded) !== 0;
    if (!isEmpty) this.#controls.allowOne();
    else if ((flags & FrameFlag.endStream) === 0) this.#controls.count();
    this.#events.onDataBegin(streamId, lengthBytes);
  }

  onDataPiece(bytes: Uint8Array): void {
    this.#events.onDataPiece(bytes);
  }

  onDataEnd(lengthBytes: number, flags: number): void {
    this.#events.onDataEnd(lengthBytes, (flags & FrameFlag.endStream) !== 0);
  }

  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#checkOrder(type);
    const isAck = (flags & FrameFlag.ack) !== 0;
    switch (type) {
      case FrameType.headers:
        this.#onBlock(this.#blocks.begin(streamId, flags, payload));
        return;
      case FrameType.continuation:
        this.#onBlock(this.#blocks.continue(streamId, flags, payload));
        return;
      case FrameType.windowUpdate:
        checkLength('WINDOW_UPDATE', payload, 4);
        this.#events.onWindowUpdate(streamId, readUint32(payload, 0) & max31Bits);
        return;
      case FrameType.rstStream:
        checkLength('RST_STREAM', payload, 4);
        this.#events.onRstStream(streamId);
        return;
    }
    this.#controls.count();
    switch (type) {
      case FrameType.settings:
        checkConnectionFrame('SETTINGS', streamId);
        this.#hasSettings = true;
        if (isAck) checkLength('SETTINGS with ACK', payload, 0);
        else this.#events.onSettings(payload);
        return;
      case FrameType.ping:
        checkConnectionFrame('PING', streamId);
        checkLength('PING', payload, 8);
        this.#events.onPing(payload, isAck);
        return;
      case FrameType.priority:
        this.#onPriority(streamId, payload);
        return;
      case FrameType.goAway:
        checkConnectionFrame('GOAWAY', streamId);
        if (payload.length < 8) throw new Http2Error('FRAME_SIZE_ERROR', 'GOAWAY is too short');
        return;
      case FrameType.pushPromise:
        throw new Http2Error('PROTOCOL_ERROR', 'PUSH_PROMISE of a client');
    }
  }

  #checkOrder(type: number): void {
    if (!this.#hasSettings && type !== FrameType.settings) {
      throw new Http2Error('PROTOCOL_ERROR', 'the first frame is not SETTINGS');
    }
    if (this.#blocks.isOpen && type !== FrameType.continuation) {
      throw new Http2Error('PROTOCOL_ERROR', 'another frame between HEADERS and CONTINUATION');
    }
  }

  #onBlock(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const { streamId, isEndOfStream, isSelfDependent } = block;
    let problem: Http2ErrorCode | undefined = isSelfDependent ? 'PROTOCOL_ERROR' : undefined;
    let fields: readonly HeaderField[] = [];
    try {
      // Every block is decoded, because later blocks refer to entries that it defines.
      fields = this.#hpack.decode(block.bytes);
    } catch (thrown) {
      if (!(thrown instanceof Http2Error) || thrown.scope === 'connection') throw thrown;
      problem = thrown.code;
    }
    this.#events.onHeaders({ streamId, isEndOfStream, fields, problem });
  }

  #onPriority(streamId: number, payload: Uint8Array): void {
    if (streamId === 0) throw new Http2Error('PROTOCOL_ERROR', 'PRIORITY of the connection');
    if (payload.length !== 5) {
      this.#events.onPriorityProblem(streamId, 'FRAME_SIZE_ERROR');
    } else if ((readUint32(payload, 0) & max31Bits) === streamId) {
      this.#events.onPriorityProblem(streamId, 'PROTOCOL_ERROR');
    }
  }
}

function checkLength(what: string, payload: Uint8Array, bytes: number): void {
  if (payload.length === bytes) return;
  throw new Http2Error('FRAME_SIZE_ERROR', `${what} has ${payload.length} bytes`);
}

function checkConnectionFrame(what: string, streamId: number): void {
  if (streamId === 0) return;
  throw new Http2Error('PROTOCOL_ERROR', `${what} for stream ${streamId}`);
}
