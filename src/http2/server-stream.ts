import { type OwnerOfBytes, SendQueue } from '../base/net/send-queue.ts';
import { FrameType, writeFrameHeader } from './frame.ts';
import type { Http2ErrorCode } from './http2-error.ts';
import type { Http2Output } from './http2-output.ts';
import { ReceiveWindow } from './receive-window.ts';
import type { RequestHead } from './request-head.ts';
import type { SentListener } from './sent-ledger.ts';

/** The service's end of a stream. It is never called from inside a method of the stream. */
export interface Http2StreamHandler {
  /** Bytes of the request's body, in order. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;
  /** The request's body is complete. */
  onEnd(): void;
  /** Some sent bytes have left the process. */
  onSent(): void;
  /** The stream has ended. Comes once, as the last event. */
  onClose(): void;
}

/** The stream's connection. */
export interface StreamConnection {
  readonly output: Http2Output;
  /** Writes HEADERS. `isEnd` ends our half. */
  writeHeaders(stream: Http2ServerStream, block: Uint8Array, isEnd: boolean): void;
  /** The stream may have something to send. */
  streamReady(stream: Http2ServerStream): void;
  /** Our half was copied into the output completely. */
  streamFinished(stream: Http2ServerStream): void;
  /** The last bytes of our half have left the process. */
  streamSent(stream: Http2ServerStream): void;
  /** Ends the stream with RST_STREAM. */
  resetStream(stream: Http2ServerStream, code: Http2ErrorCode): void;
  /** Writes WINDOW_UPDATE for the stream. */
  giveBack(stream: Http2ServerStream, increment: number): void;
  /** The bytes that arrived for paused streams have changed by `bytes`. */
  heldChanged(bytes: number): void;
  /** Copied bytes of the stream are in the output up to its current end. */
  track(stream: Http2ServerStream, bytes: number, pieces: number): void;
}

/** A request and its response. After the end of the stream, every method does nothing. */
export class Http2ServerStream implements SentListener {
  readonly id: number;
  readonly head: RequestHead;
  /** The next stream that waits to send (see `SendScheduler`). */
  nextReady: Http2ServerStream | undefined;
  isQueued = false;
  /** The client has ended its half. */
  isRemoteEnded = false;
  readonly #connection: StreamConnection;
  readonly #window: ReceiveWindow;
  readonly #queue = new SendQueue();
  #handler: Http2StreamHandler | undefined;
  #sendWindowBytes: number;
  #isHeadSent = false;
  #trailers: Uint8Array | undefined;
  /** Our half was written completely, or the stream was reset. */
  #isOver = false;
  #isDropped = false;
  #isPaused = false;
  #heldBytes = 0;
  #receivedBytes = 0;
  /** Bytes and pieces that were copied into the output and have not left the process. */
  #outputBytes = 0;
  #outputPieces = 0;

  constructor(
    connection: StreamConnection,
    id: number,
    head: RequestHead,
    windows: { readonly receiveBytes: number; readonly sendBytes: number },
  ) {
    this.#connection = connection;
    this.id = id;
    this.head = head;
    this.#window = new ReceiveWindow(windows.receiveBytes);
    this.#sendWindowBytes = windows.sendBytes;
  }

  /** How many bytes of all `send`s are still in this process. */
  get queuedBytes(): number {
    return this.#queue.bytes + this.#outputBytes;
  }

  /** How many `send`s these bytes belong to. */
  get queuedPieces(): number {
    return this.#queue.pieces + this.#outputPieces;
  }

  get isHeadSent(): boolean {
    return this.#isHeadSent;
  }

  /** Sends the head of the response, encoded with HPACK. Only the first call counts. */
  respond(block: Uint8Array): void {
    if (this.#isHeadSent || this.#isOver) return;
    this.#isHeadSent = true;
    this.#connection.writeHeaders(this, block, false);
  }

  /** Answers with a head alone. */
  answer(block: Uint8Array): void {
    if (this.#isHeadSent || this.#isOver) return;
    this.#isHeadSent = true;
    this.#isOver = true;
    this.#connection.writeHeaders(this, block, true);
    this.#connection.streamFinished(this);
  }

  /** Sends `bytes` after all earlier ones. They must not change until `owner` has been told. */
  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.#isOver || this.#trailers !== undefined || bytes.length === 0) {
      owner?.onReleased();
      return;
    }
    this.#queue.push(bytes, owner);
    this.#connection.streamReady(this);
  }

  /** Ends our half with trailers after all sent bytes. Idempotent. */
  end(trailers: Uint8Array): void {
    if (this.#isOver || this.#trailers !== undefined) return;
    this.#trailers = trailers;
    this.#connection.streamReady(this);
  }

  /** Gives no window back until `resume`. Bytes within the window still arrive. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#heldBytes === 0) return;
    const heldBytes = this.#heldBytes;
    this.#heldBytes = 0;
    this.#connection.heldChanged(-heldBytes);
    this.#consume(heldBytes);
  }

  /** Ends the stream at once with RST_STREAM. Queued bytes are lost. Idempotent. */
  reset(code: Http2ErrorCode): void {
    if (!this.#isDropped) this.#connection.resetStream(this, code);
  }

  // The calls of the connection.

  /** Whether `writeNext` would write something while the connection has a window. */
  get canSend(): boolean {
    if (this.#isOver) return false;
    return this.#queue.bytes > 0 ? this.#sendWindowBytes > 0 : this.#trailers !== undefined;
  }

  get needsConnectionWindow(): boolean {
    return this.#queue.bytes > 0;
  }

  handle(handler: Http2StreamHandler): void {
    this.#handler = handler;
  }

  /** @returns false: the client sent more than its window */
  receive(lengthBytes: number): boolean {
    return this.#window.receive(lengthBytes);
  }

  onData(bytes: Uint8Array): void {
    this.#receivedBytes += bytes.length;
    if (this.#trailers === undefined) this.#handler?.onData(bytes);
  }

  /** A frame of DATA was delivered. */
  onDataEnd(lengthBytes: number): void {
    if (this.#isPaused && this.#trailers === undefined) {
      this.#heldBytes += lengthBytes;
      this.#connection.heldChanged(lengthBytes);
    } else {
      this.#consume(lengthBytes);
    }
  }

  /** @returns false: the body is not as long as the request said */
  onRemoteEnd(): boolean {
    this.isRemoteEnded = true;
    const { contentLength } = this.head;
    if (contentLength !== undefined && contentLength !== this.#receivedBytes) return false;
    if (this.#trailers === undefined && !this.#isOver) this.#handler?.onEnd();
    return true;
  }

  /** Changes the window of our sending. Returns false when it exceeds 2^31 - 1. */
  addSendWindow(bytes: number): boolean {
    this.#sendWindowBytes += bytes;
    return this.#sendWindowBytes <= 0x7fff_ffff;
  }

  /**
   * Copies one frame into the output: DATA, or the trailers after all DATA.
   *
   * @returns how many bytes of the connection's window were used
   */
  writeNext(maxBytes: number): number {
    const { output } = this.#connection;
    if (this.#queue.bytes === 0) {
      this.#isOver = true;
      this.#connection.writeHeaders(this, this.#trailers!, true);
      this.#connection.streamFinished(this);
      return 0;
    }
    const count = Math.min(maxBytes, this.#sendWindowBytes, this.#queue.bytes);
    const before = this.#queue.pieces;
    writeFrameHeader(output.output, count, FrameType.data, 0, this.id);
    this.#queue.copyTo(output.output, count);
    const pieces = before - this.#queue.pieces;
    this.#sendWindowBytes -= count;
    this.#outputBytes += count;
    this.#outputPieces += pieces;
    this.#connection.track(this, count, pieces);
    output.written();
    return count;
  }

  /** Part of `SentListener`. */
  onTaken(bytes: number, pieces: number): void {
    if (this.#isDropped) return;
    this.#outputBytes -= bytes;
    this.#outputPieces -= pieces;
    if (bytes > 0) this.#handler?.onSent();
    else if (this.#isOver) this.#connection.streamSent(this);
  }

  /** The stream was reset, or its connection is gone: drops everything but the last event. */
  drop(): void {
    this.#isOver = this.#isDropped = true;
    this.#queue.clear();
    this.#outputBytes = this.#outputPieces = 0;
    if (this.#heldBytes > 0) this.#connection.heldChanged(-this.#heldBytes);
    this.#heldBytes = 0;
  }

  /** The last event. */
  closed(): void {
    this.#isOver = this.#isDropped = true;
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose();
  }

  #consume(bytes: number): void {
    if (this.isRemoteEnded || this.#isOver) return;
    this.#window.consume(bytes);
    const increment = this.#window.takeIncrement();
    if (increment > 0) this.#connection.giveBack(this, increment);
  }
}
