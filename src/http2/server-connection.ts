import type { Clock } from '../base/clock.ts';
import { ControlWriter } from './control-writer.ts';
import { defaultWindowBytes, FrameFlag, FrameType, max31Bits, readUint32 } from './frame.ts';
import { type FrameHandler, FrameParser } from './frame-parser.ts';
import { type HeaderBlock, HeaderBlockAssembler } from './header-block.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import type { HeaderField } from './hpack-static-table.ts';
import { Http2Error, type Http2ErrorCode } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import type { Http2Output } from './http2-output.ts';
import { PeerSettings } from './peer-settings.ts';
import { RateLimit } from './rate-limit.ts';
import { ReceiveWindow } from './receive-window.ts';
import { checkTrailers, parseRequestHead, type RequestHead } from './request-head.ts';
import { SendScheduler } from './send-scheduler.ts';
import { SentLedger } from './sent-ledger.ts';
import {
  Http2ServerStream,
  type Http2StreamHandler,
  type StreamConnection,
} from './server-stream.ts';

/** The server that a connection belongs to. */
export interface Http2ConnectionOwner {
  /**
   * A request has arrived. The stream can be used at once.
   *
   * @returns undefined when the owner has answered it completely
   */
  onRequest(stream: Http2ServerStream): Http2StreamHandler | undefined;
  /** The client has sent its first SETTINGS. */
  onReady(): void;
  /** Bytes have left the process while more are queued. */
  onProgress(): void;
  /**
   * The client broke a rule or a limit of the connection. GOAWAY was written. The owner sends it,
   * and then closes the socket.
   */
  onFailed(error: Http2Error): void;
  /** After `shutdown`: the last stream has ended. The owner closes the socket after all output. */
  onStreamsEnded(): void;
}

export interface Http2ServerConnectionOptions {
  readonly owner: Http2ConnectionOwner;
  readonly output: Http2Output;
  readonly limits: Http2Limits;
  readonly clock: Clock;
}

/** A connection's window is so many windows of a stream, so that few WINDOW_UPDATEs are needed. */
const windowsPerConnection = 4;

/** Streams that we have ended first and whose late frames are ignored. The oldest is forgotten. */
const maxRememberedResets = 1000;

const drainPing = Buffer.from('draining', 'latin1');
const watchPing = Buffer.from('answer?!', 'latin1');

/**
 * The server's end of an HTTP/2 connection (RFC 9113), without a socket: `push` takes what the
 * client sends, and frames to the client are copied into `output`. It serves requests only: no push
 * and no priorities.
 */
export class Http2ServerConnection implements FrameHandler, StreamConnection {
  readonly output: Http2Output;
  readonly #owner: Http2ConnectionOwner;
  readonly #limits: Http2Limits;
  readonly #parser: FrameParser;
  readonly #blocks: HeaderBlockAssembler;
  readonly #hpack: HpackDecoder;
  readonly #settings = new PeerSettings();
  readonly #control: ControlWriter;
  readonly #scheduler: SendScheduler;
  readonly #ledger = new SentLedger();
  readonly #window: ReceiveWindow;
  readonly #resets: RateLimit;
  readonly #controls: RateLimit;
  readonly #streams = new Map<number, Http2ServerStream>();
  /** Streams that were reset by us and whose handlers have not been told. */
  #closing: Http2ServerStream[] = [];
  readonly #endedByUs = new Set<number>();
  #state: 'open' | 'failed' | 'destroyed' = 'open';
  #isReady = false;
  #drain: 'no' | 'announced' | 'final' = 'no';
  #lastStreamId = 0;
  #takenBytes = 0;
  #heldBytes = 0;
  /** Bytes whose window of the connection is withheld, because too many bytes are held. */
  #withheldBytes = 0;
  /** The DATA frame that is being delivered. */
  #dataStream: Http2ServerStream | undefined;
  #dataBytes = 0;
  #isDataEnd = false;

  constructor(options: Http2ServerConnectionOptions) {
    const { owner, output, limits, clock } = options;
    this.#owner = owner;
    this.output = output;
    this.#limits = limits;
    this.#parser = new FrameParser(this, limits.maxFrameBytes);
    this.#blocks = new HeaderBlockAssembler(limits);
    this.#hpack = new HpackDecoder({
      maxTableBytes: limits.maxHeaderTableBytes,
      maxHeaderListBytes: limits.maxHeaderListBytes,
    });
    this.#control = new ControlWriter(output.output);
    this.#scheduler = new SendScheduler(output, this.#settings);
    const windowBytes = Math.max(windowsPerConnection * limits.windowBytes, defaultWindowBytes + 1);
    this.#window = new ReceiveWindow(windowBytes);
    this.#resets = new RateLimit({
      what: 'reset streams',
      burst: limits.resetBurst,
      perSecond: limits.resetsPerSecond,
      clock,
    });
    this.#controls = new RateLimit({
      what: 'frames without effect',
      burst: limits.controlBurst,
      perSecond: limits.controlsPerSecond,
      clock,
    });
    this.#control.settings(limits);
    this.#control.connectionWindow(windowBytes);
    output.planTurn();
  }

  /** Open streams. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** Takes bytes of the client. Borrowed: valid until this returns. Never throws an Http2Error. */
  push(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    try {
      this.#parser.push(bytes);
    } catch (thrown) {
      if (!(thrown instanceof Http2Error)) throw thrown;
      this.#fail(thrown);
    }
  }

  /** Fills the output with frames of the streams. */
  pull(): void {
    if (this.#state === 'open') this.#scheduler.pull();
  }

  /** Bytes may have left the process. */
  onFlushed(): void {
    if (this.#state === 'destroyed') return;
    const { totalBytes, queuedBytes } = this.output.output;
    const takenBytes = totalBytes - queuedBytes;
    if (takenBytes > this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#ledger.taken(takenBytes);
      if (queuedBytes > 0) this.#owner.onProgress();
    }
    this.#tellClosed();
  }

  /** Sends a PING. Its answer is one more sign of life among the bytes of the client. */
  ping(): void {
    if (this.#state !== 'open') return;
    this.#control.ping(watchPing, false);
    this.output.planTurn();
  }

  /**
   * Takes no new streams, and loses none: the first GOAWAY names no stream, and after the answer to
   * a PING the second GOAWAY names the last accepted stream (RFC 9113, section 6.8). Open streams
   * continue. Idempotent.
   */
  shutdown(): void {
    if (this.#drain !== 'no' || this.#state !== 'open') return;
    this.#drain = 'announced';
    this.#control.goAway(max31Bits, 'NO_ERROR', 'draining');
    this.#control.ping(drainPing, false);
    this.output.planTurn();
  }

  /** The socket is closed: ends all streams. Idempotent. */
  destroy(): void {
    if (this.#state === 'destroyed') return;
    this.#state = 'destroyed';
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) stream.drop();
    for (const stream of streams) stream.closed();
    this.#tellClosed();
  }

  // The calls of the parser.

  onDataBegin(streamId: number, lengthBytes: number, flags: number): void {
    this.#expectReady(FrameType.data);
    this.#isDataEnd = (flags & FrameFlag.endStream) !== 0;
    this.#dataBytes = lengthBytes;
    const stream = this.#openStream(streamId, 'DATA');
    this.#dataStream = stream;
    if (!this.#window.receive(lengthBytes)) {
      throw new Http2Error('FLOW_CONTROL_ERROR', 'more DATA than the window of the connection');
    }
    this.#returnWindow(lengthBytes);
    if (lengthBytes === 0 && !this.#isDataEnd) this.#controls.count();
    else if (lengthBytes > 0) this.#controls.allowOne();
    if (stream === undefined) return;
    if (stream.isRemoteEnded) {
      this.#streamError(stream, 'STREAM_CLOSED');
    } else if (!stream.receive(lengthBytes)) {
      this.#streamError(stream, 'FLOW_CONTROL_ERROR');
    }
  }

  onDataPiece(bytes: Uint8Array): void {
    this.#dataStream?.onData(bytes);
  }

  onDataEnd(): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (stream === undefined) return;
    stream.onDataEnd(this.#dataBytes);
    if (this.#isDataEnd) this.#remoteEnd(stream);
  }

  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#expectReady(type);
    if (this.output.output.queuedBytes > this.#limits.maxQueuedBytes) {
      const message = `the client leaves ${this.#limits.maxQueuedBytes} bytes unread`;
      throw new Http2Error('ENHANCE_YOUR_CALM', message);
    }
    switch (type) {
      case FrameType.headers:
        this.#onHeaders(streamId, flags, payload);
        return;
      case FrameType.continuation: {
        const block = this.#blocks.continue(streamId, flags, payload);
        if (block !== undefined) this.#onBlock(block);
        return;
      }
      case FrameType.windowUpdate:
        this.#onWindowUpdate(streamId, payload);
        return;
      case FrameType.rstStream:
        this.#onRstStream(streamId, payload);
        return;
      case FrameType.settings:
        this.#onSettings(streamId, flags, payload);
        return;
      case FrameType.ping:
        this.#onPing(streamId, flags, payload);
        return;
      default:
        this.#onOther(type, streamId, payload);
    }
  }

  // The calls of the streams.

  writeHeaders(stream: Http2ServerStream, block: Uint8Array, isEnd: boolean): void {
    this.#control.headers(stream.id, block, isEnd, this.#settings.maxFrameBytes);
    this.output.planTurn();
  }

  streamReady(stream: Http2ServerStream): void {
    this.#scheduler.ready(stream);
  }

  streamFinished(stream: Http2ServerStream): void {
    // The client's half is not needed any more (RFC 9113, section 8.1).
    if (!stream.isRemoteEnded) {
      this.#control.rstStream(stream.id, 'NO_ERROR');
      this.#rememberEnd(stream.id);
    }
    this.track(stream, 0, 0);
    this.output.planTurn();
  }

  streamSent(stream: Http2ServerStream): void {
    this.#remove(stream);
    stream.closed();
  }

  resetStream(stream: Http2ServerStream, code: Http2ErrorCode): void {
    this.#control.rstStream(stream.id, code);
    this.#rememberEnd(stream.id);
    this.output.planTurn();
    stream.drop();
    this.#closing.push(stream);
    this.#remove(stream);
  }

  giveBack(stream: Http2ServerStream, increment: number): void {
    this.#control.windowUpdate(stream.id, increment);
    this.output.planTurn();
  }

  heldChanged(bytes: number): void {
    this.#heldBytes += bytes;
    if (this.#withheldBytes > 0 && this.#heldBytes <= this.#limits.maxHeldBytes) {
      const withheldBytes = this.#withheldBytes;
      this.#withheldBytes = 0;
      this.#returnWindow(withheldBytes);
    }
  }

  track(stream: Http2ServerStream, bytes: number, pieces: number): void {
    if (bytes > 0) this.#controls.allowOne();
    this.#ledger.add(stream, this.output.output.totalBytes, bytes, pieces);
  }

  #expectReady(type: number): void {
    if (!this.#isReady && type !== FrameType.settings) {
      throw new Http2Error('PROTOCOL_ERROR', 'the first frame is not SETTINGS');
    }
    if (this.#blocks.openStreamId !== 0 && type !== FrameType.continuation) {
      throw new Http2Error('PROTOCOL_ERROR', 'another frame between HEADERS and CONTINUATION');
    }
  }

  /** The stream of a frame. Undefined when it has ended. */
  #openStream(streamId: number, what: string): Http2ServerStream | undefined {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) return stream;
    if (streamId === 0 || streamId % 2 === 0 || streamId > this.#lastStreamId) {
      throw new Http2Error('PROTOCOL_ERROR', `${what} for stream ${streamId}, which is not open`);
    }
    if (what === 'DATA' && !this.#endedByUs.has(streamId)) {
      this.#controls.count();
      this.#control.rstStream(streamId, 'STREAM_CLOSED');
      this.output.planTurn();
    }
    return undefined;
  }

  #onHeaders(streamId: number, flags: number, payload: Uint8Array): void {
    if (streamId % 2 === 0) {
      throw new Http2Error('PROTOCOL_ERROR', `HEADERS for stream ${streamId}`);
    }
    const block = this.#blocks.begin(streamId, flags, payload);
    if (block !== undefined) this.#onBlock(block);
  }

  #onBlock(block: HeaderBlock): void {
    const { streamId } = block;
    // Always, because later blocks refer to what this one defines.
    let fields: readonly HeaderField[] = [];
    const isSmall = isValid(() => (fields = this.#hpack.decode(block.bytes)));
    const stream = this.#streams.get(streamId);
    if (stream === undefined && streamId > this.#lastStreamId) {
      this.#lastStreamId = streamId;
      this.#onRequest(block, isSmall, () => parseRequestHead(fields));
      return;
    }
    if (stream === undefined) {
      if (this.#endedByUs.has(streamId)) return;
      throw new Http2Error('STREAM_CLOSED', `HEADERS for stream ${streamId}, which has ended`);
    }
    if (stream.isRemoteEnded) this.#streamError(stream, 'STREAM_CLOSED');
    else if (!block.isEndOfStream || !isSmall || !isValid(() => checkTrailers(fields))) {
      this.#streamError(stream, 'PROTOCOL_ERROR');
    } else this.#remoteEnd(stream);
  }

  #onRequest(block: HeaderBlock, isSmall: boolean, parse: () => RequestHead): void {
    const { streamId } = block;
    if (this.#drain === 'final') {
      // The client knows that this stream was not accepted.
      this.#rememberEnd(streamId);
      return;
    }
    if (this.#streams.size >= this.#limits.maxStreams) {
      this.#refuseRequest(streamId, 'REFUSED_STREAM');
      return;
    }
    if (!isSmall) {
      this.#refuseRequest(streamId, 'ENHANCE_YOUR_CALM');
      return;
    }
    let head: RequestHead | undefined;
    if (!block.isSelfDependent) isValid(() => (head = parse()));
    if (head === undefined) {
      this.#refuseRequest(streamId, 'PROTOCOL_ERROR');
      return;
    }
    const stream = new Http2ServerStream(this, streamId, head, {
      receiveBytes: this.#limits.windowBytes,
      sendBytes: this.#settings.initialWindowBytes,
    });
    this.#streams.set(streamId, stream);
    const handler = this.#owner.onRequest(stream);
    if (handler !== undefined) stream.handle(handler);
    if (block.isEndOfStream) this.#remoteEnd(stream);
  }

  #refuseRequest(streamId: number, code: Http2ErrorCode): void {
    this.#resets.count();
    this.#control.rstStream(streamId, code);
    this.#rememberEnd(streamId);
    this.output.planTurn();
  }

  #remoteEnd(stream: Http2ServerStream): void {
    if (!stream.onRemoteEnd()) this.#streamError(stream, 'PROTOCOL_ERROR');
  }

  #onWindowUpdate(streamId: number, payload: Uint8Array): void {
    checkLength('WINDOW_UPDATE', payload, 4);
    const increment = readUint32(payload, 0) & max31Bits;
    if (streamId === 0) {
      if (increment === 0) throw new Http2Error('PROTOCOL_ERROR', 'WINDOW_UPDATE of 0 bytes');
      if (!this.#scheduler.addWindow(increment)) {
        throw new Http2Error('FLOW_CONTROL_ERROR', 'the window of the connection is too large');
      }
      return;
    }
    const stream = this.#openStream(streamId, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) this.#streamError(stream, 'PROTOCOL_ERROR');
    else if (!stream.addSendWindow(increment)) this.#streamError(stream, 'FLOW_CONTROL_ERROR');
    else this.#scheduler.ready(stream);
  }

  #onRstStream(streamId: number, payload: Uint8Array): void {
    checkLength('RST_STREAM', payload, 4);
    this.#resets.count();
    const stream = this.#openStream(streamId, 'RST_STREAM');
    if (stream === undefined) return;
    stream.drop();
    this.#remove(stream);
    stream.closed();
  }

  #onSettings(streamId: number, flags: number, payload: Uint8Array): void {
    if (streamId !== 0) throw new Http2Error('PROTOCOL_ERROR', 'SETTINGS of a stream');
    this.#controls.count();
    if ((flags & FrameFlag.ack) !== 0) {
      checkLength('SETTINGS with ACK', payload, 0);
      if (!this.#isReady) throw new Http2Error('PROTOCOL_ERROR', 'SETTINGS begins with ACK');
      return;
    }
    const before = this.#settings.initialWindowBytes;
    this.#settings.read(payload);
    const change = this.#settings.initialWindowBytes - before;
    for (const stream of change === 0 ? [] : this.#streams.values()) {
      if (!stream.addSendWindow(change)) {
        throw new Http2Error('FLOW_CONTROL_ERROR', 'SETTINGS makes a window too large');
      }
      this.#scheduler.ready(stream);
    }
    this.#control.settingsAck();
    this.output.planTurn();
    if (this.#isReady) return;
    this.#isReady = true;
    this.#owner.onReady();
  }

  #onPing(streamId: number, flags: number, payload: Uint8Array): void {
    if (streamId !== 0) throw new Http2Error('PROTOCOL_ERROR', 'PING of a stream');
    checkLength('PING', payload, 8);
    this.#controls.count();
    if ((flags & FrameFlag.ack) === 0) {
      this.#control.ping(payload, true);
      this.output.planTurn();
    } else if (this.#drain === 'announced' && drainPing.equals(payload)) {
      this.#drain = 'final';
      this.#control.goAway(this.#lastStreamId, 'NO_ERROR', 'draining');
      this.output.planTurn();
      if (this.#streams.size === 0) this.#owner.onStreamsEnded();
    }
  }

  /** Frames that change nothing: PRIORITY, GOAWAY and types that we do not know. */
  #onOther(type: number, streamId: number, payload: Uint8Array): void {
    this.#controls.count();
    if (type === FrameType.pushPromise) {
      throw new Http2Error('PROTOCOL_ERROR', 'PUSH_PROMISE of a client');
    }
    if (type === FrameType.goAway) {
      if (streamId !== 0) throw new Http2Error('PROTOCOL_ERROR', 'GOAWAY of a stream');
      if (payload.length < 8) throw new Http2Error('FRAME_SIZE_ERROR', 'GOAWAY is too short');
    }
    if (type === FrameType.priority) this.#onPriority(streamId, payload);
  }

  #onPriority(streamId: number, payload: Uint8Array): void {
    if (streamId === 0) throw new Http2Error('PROTOCOL_ERROR', 'PRIORITY of the connection');
    const isWrongSize = payload.length !== 5;
    const isSelfDependent = !isWrongSize && (readUint32(payload, 0) & max31Bits) === streamId;
    if (!isWrongSize && !isSelfDependent) return;
    const code = isWrongSize ? 'FRAME_SIZE_ERROR' : 'PROTOCOL_ERROR';
    const stream = this.#streams.get(streamId);
    if (stream === undefined) throw new Http2Error(code, `PRIORITY of stream ${streamId}`);
    this.#streamError(stream, code);
  }

  /** Resets a stream because of its client. That costs us as much as a reset by the client. */
  #streamError(stream: Http2ServerStream, code: Http2ErrorCode): void {
    this.#resets.count();
    if (this.#dataStream === stream) this.#dataStream = undefined;
    stream.reset(code);
  }

  #returnWindow(bytes: number): void {
    if (this.#heldBytes > this.#limits.maxHeldBytes) {
      this.#withheldBytes += bytes;
      return;
    }
    this.#window.consume(bytes);
    const increment = this.#window.takeIncrement();
    if (increment === 0) return;
    this.#control.windowUpdate(0, increment);
    this.output.planTurn();
  }

  #rememberEnd(streamId: number): void {
    this.#endedByUs.add(streamId);
    if (this.#endedByUs.size <= maxRememberedResets) return;
    const [oldest] = this.#endedByUs;
    this.#endedByUs.delete(oldest!);
  }

  #remove(stream: Http2ServerStream): void {
    this.#streams.delete(stream.id);
    if (this.#drain === 'final' && this.#streams.size === 0) this.#owner.onStreamsEnded();
  }

  #tellClosed(): void {
    while (this.#closing.length > 0) {
      const closing = this.#closing;
      this.#closing = [];
      for (const stream of closing) stream.closed();
    }
  }

  #fail(error: Http2Error): void {
    this.#state = 'failed';
    this.#control.goAway(this.#lastStreamId, error.code, error.message);
    this.output.planTurn();
    this.#owner.onFailed(error);
  }
}

function checkLength(what: string, payload: Uint8Array, bytes: number): void {
  if (payload.length === bytes) return;
  throw new Http2Error('FRAME_SIZE_ERROR', `${what} has ${payload.length} bytes`);
}

/** False when `check` finds an error of the stream. */
function isValid(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (thrown) {
    if (thrown instanceof Http2Error && thrown.scope === 'stream') return false;
    throw thrown;
  }
}
