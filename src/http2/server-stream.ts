import { type OwnerOfBytes, SendQueue } from '../base/net/send-queue.ts';
import { FrameFlag, FrameType, writeFrameHeader } from './frame.ts';
import type { HeaderField } from './hpack-static-table.ts';
import type { Http2ErrorCode } from './http2-error.ts';
import type { SentListener } from './sent-ledger.ts';
import type { StreamConnection } from './stream-connection.ts';
import type { Http2StreamHandler } from './stream-handler.ts';
import type { StreamReceiver } from './stream-receiver.ts';

/** A request and its response. After the end of the stream, every method does nothing. */
export class Http2ServerStream implements SentListener {
  readonly id: number;
  /** The next stream that waits to send (see `SendScheduler`). */
  nextReady: Http2ServerStream | undefined;
  isQueued = false;
  /** The client has ended its half. */
  isRemoteEnded = false;
  /** The client's half goes on after ours. */
  keepsReading = false;
  readonly #connection: StreamConnection<Http2ServerStream>;
  readonly #receiver: StreamReceiver;
  readonly #queue = new SendQueue();
  #handler: Http2StreamHandler | undefined;
  #sendWindowBytes: number;
  #isHeadSent = false;
  /** `end` was called. */
  #isEnding = false;
  #trailers: Uint8Array | undefined;
  /** Our half was written completely, or the stream was reset. */
  #isOver = false;
  /** Our half has left the process. */
  #isSent = false;
  #isDropped = false;
  /** Bytes and pieces that were copied into the output and have not left the process. */
  #outputBytes = 0;
  #outputPieces = 0;

  constructor(
    connection: StreamConnection<Http2ServerStream>,
    id: number,
    receiver: StreamReceiver,
    sendWindowBytes: number,
  ) {
    this.#connection = connection;
    this.id = id;
    this.#receiver = receiver;
    this.#sendWindowBytes = sendWindowBytes;
  }

  /** How many bytes of all `send`s and `sendCopy`s are still in this process. */
  get queuedBytes(): number {
    return this.#queue.bytes + this.#outputBytes;
  }

  /** How many pieces these bytes are. */
  get queuedPieces(): number {
    return this.#queue.pieces + this.#outputPieces;
  }

  get isHeadSent(): boolean {
    return this.#isHeadSent;
  }

  /** Sends an informational response, unless the client does not read. `block` is borrowed. */
  inform(block: Uint8Array): void {
    if (this.#isHeadSent || this.#isOver || this.#connection.output.room <= 0) return;
    this.#connection.writeHeaders(this, block, false);
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
    this.#isHeadSent = this.#isEnding = true;
    this.#finish(block);
  }

  /** Sends `bytes` after all earlier ones. They must not change until `owner` has been told. */
  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.#isOver || this.#isEnding || bytes.length === 0) {
      owner?.onReleased();
      return;
    }
    this.#queue.push(bytes, owner);
    this.#connection.unsentChanged(bytes.length);
    this.#connection.streamReady(this);
  }

  /** As `send`, but the bytes are borrowed, and are copied at once. */
  sendCopy(bytes: Uint8Array): void {
    if (this.#isOver || this.#isEnding || bytes.length === 0) return;
    const sentBytes = this.#queue.bytes > 0 ? 0 : this.#connection.sendNow(this, bytes);
    if (sentBytes === bytes.length) return;
    this.#queue.pushCopy(sentBytes === 0 ? bytes : bytes.subarray(sentBytes));
    this.#connection.unsentChanged(bytes.length - sentBytes);
    this.#connection.streamReady(this);
  }

  /**
   * Ends our half after all sent bytes. Idempotent.
   *
   * @param trailers a header block that the stream may keep (default: none)
   * @param keepsReading the client's half goes on. Otherwise the client is asked to end it.
   */
  end(trailers?: Uint8Array, { keepsReading = false } = {}): void {
    if (this.#isOver || this.#isEnding) return;
    this.#isEnding = true;
    this.keepsReading = keepsReading;
    if (this.#queue.bytes > 0) this.#trailers = trailers;
    else this.#finish(trailers);
  }

  /** Gives no window back until `resume`. Bytes within the window still arrive. */
  pause(): void {
    this.#receiver.isPaused = true;
  }

  resume(): void {
    this.#receiver.isPaused = false;
    this.#consume(this.#releaseHeld());
  }

  /** Ends the stream at once with RST_STREAM. Queued bytes are lost. Idempotent. */
  reset(code: Http2ErrorCode): void {
    if (!this.#isDropped) this.#connection.resetStream(this, code);
  }

  // The calls of the connection.

  /** Whether `writeNext` would write something while the connection has a window. */
  get canSend(): boolean {
    if (this.#isOver) return false;
    return this.#queue.bytes > 0 ? this.#sendWindowBytes > 0 : this.#isEnding;
  }

  get needsConnectionWindow(): boolean {
    return this.#queue.bytes > 0;
  }

  get sendWindowBytes(): number {
    return this.#sendWindowBytes;
  }

  handle(handler: Http2StreamHandler): void {
    this.#handler = handler;
  }

  /** @returns false: the client sent more than its window */
  receive(lengthBytes: number): boolean {
    return this.#receiver.receive(lengthBytes);
  }

  /** @returns false: the body is longer than the request said */
  onData(bytes: Uint8Array): boolean {
    if (!this.#receiver.count(bytes.length)) return false;
    if (this.#isReading) this.#handler?.onData(bytes);
    return true;
  }

  /** A frame of DATA was delivered. */
  onDataEnd(lengthBytes: number): void {
    if (this.#receiver.isPaused && this.#isReading) {
      this.#receiver.hold(lengthBytes);
      this.#connection.heldChanged(lengthBytes);
    } else {
      this.#consume(lengthBytes);
    }
  }

  /** @returns false: the body is shorter than the request said */
  onRemoteEnd(trailers: readonly HeaderField[]): boolean {
    this.isRemoteEnded = true;
    if (!this.#receiver.isComplete) return false;
    if (this.#isReading) this.#handler?.onEnd(trailers);
    if (this.#isSent && !this.#isDropped) this.#connection.streamClosed(this);
    return true;
  }

  /** Changes the window of our sending. Returns false when it exceeds 2^31 - 1. */
  addSendWindow(bytes: number): boolean {
    this.#sendWindowBytes += bytes;
    return this.#sendWindowBytes <= 0x7fff_ffff;
  }

  /**
   * Copies one frame of the queue into the output, or the end behind all DATA.
   *
   * @returns how many bytes of the connection's window were used
   */
  writeNext(maxBytes: number): number {
    const queue = this.#queue;
    if (queue.bytes === 0) {
      this.#finish(this.#trailers);
      return 0;
    }
    const count = Math.min(maxBytes, this.#sendWindowBytes, queue.bytes);
    const isEnd = this.#isEnding && this.#trailers === undefined && count === queue.bytes;
    const before = queue.pieces;
    this.#beginData(count, isEnd);
    queue.copyTo(this.#connection.output.output, count);
    this.#connection.unsentChanged(-count);
    this.#endData(count, before - queue.pieces);
    if (isEnd) this.#finished();
    return count;
  }

  /** Copies `from[start..start + count)` into the output as one frame. */
  writeBorrowed(from: Uint8Array, start: number, count: number): void {
    this.#beginData(count, false);
    this.#connection.output.output.copy(from, start, start + count);
    this.#endData(count, 0);
  }

  /** Part of `SentListener`. */
  onTaken(bytes: number, pieces: number): void {
    if (this.#isDropped) return;
    this.#outputBytes -= bytes;
    this.#outputPieces -= pieces;
    if (bytes > 0) {
      this.#handler?.onSent();
    } else if (this.#isOver) {
      this.#isSent = true;
      if (this.isRemoteEnded) this.#connection.streamClosed(this);
      else if (!this.keepsReading) this.#connection.streamAnswered(this);
    }
  }

  /** The stream was reset, or its connection is gone: drops everything but the last event. */
  drop(): void {
    this.#isOver = this.#isDropped = true;
    this.#isSent = false;
    if (this.#queue.bytes > 0) this.#connection.unsentChanged(-this.#queue.bytes);
    this.#queue.clear();
    this.#outputBytes = this.#outputPieces = 0;
  }

  /** The last event. */
  closed(): void {
    this.#isOver = this.#isDropped = true;
    this.#releaseHeld();
    this.#receiver.close();
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose(this.#isSent);
  }

  /** The handler wants more of the request's body. */
  get #isReading(): boolean {
    return this.keepsReading ? !this.#isDropped : !this.#isEnding && !this.#isOver;
  }

  #beginData(count: number, isEnd: boolean): void {
    const { output } = this.#connection.output;
    writeFrameHeader(output, count, FrameType.data, isEnd ? FrameFlag.endStream : 0, this.id);
  }

  #endData(count: number, pieces: number): void {
    this.#sendWindowBytes -= count;
    this.#outputBytes += count;
    this.#outputPieces += pieces;
    this.#connection.track(this, count, pieces);
    this.#connection.output.written();
  }

  /** Writes the end of our half: a header block, or an empty frame of DATA. */
  #finish(block: Uint8Array | undefined): void {
    if (block === undefined) {
      this.#beginData(0, true);
      this.#connection.output.planTurn();
    } else {
      this.#connection.writeHeaders(this, block, true);
    }
    this.#finished();
  }

  #finished(): void {
    this.#isOver = true;
    if (!this.keepsReading) this.#releaseHeld();
    this.#connection.streamFinished(this);
  }

  /** What has arrived while the stream was paused counts no more. Returns how much that is. */
  #releaseHeld(): number {
    const heldBytes = this.#receiver.takeHeld();
    if (heldBytes > 0) this.#connection.heldChanged(-heldBytes);
    return heldBytes;
  }

  #consume(bytes: number): void {
    if (this.isRemoteEnded || (this.#isOver && !this.keepsReading)) return;
    const increment = this.#receiver.consume(bytes);
    if (increment > 0) this.#connection.giveBack(this, increment);
  }
}
