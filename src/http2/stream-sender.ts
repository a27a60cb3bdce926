import type { Clock } from '../base/clock.ts';
import { AnsweredStreams } from './answered-streams.ts';
import type { ConnectionWindow } from './connection-window.ts';
import type { ControlWriter } from './control-writer.ts';
import type { Http2ErrorCode } from './http2-error.ts';
import type { Http2Output } from './http2-output.ts';
import type { PeerSettings } from './peer-settings.ts';
import type { RateLimit } from './rate-limit.ts';
import { SendScheduler } from './send-scheduler.ts';
import { SentLedger } from './sent-ledger.ts';
import type { Http2ServerStream } from './server-stream.ts';
import type { StreamConnection } from './stream-connection.ts';
import type { StreamTable } from './stream-table.ts';

/** A change of the dynamic table's size to 0 bytes. It stays valid for every later size. */
const clearTable = Uint8Array.of(0x20);

export interface StreamSenderOptions {
  readonly output: Http2Output;
  readonly control: ControlWriter;
  readonly settings: PeerSettings;
  readonly window: ConnectionWindow;
  /** Bounds frames without effect. DATA allows more of them. */
  readonly controls: RateLimit;
  readonly streams: StreamTable;
  /** `Http2Limits.answeredLingerMs`. */
  readonly lingerMs: number;
  readonly clock: Clock;
  /** A stream has left the table. */
  readonly onRemoved: () => void;
}

/** What the streams of a connection send, and how they end. */
export class StreamSender implements StreamConnection<Http2ServerStream> {
  readonly output: Http2Output;
  /** Bytes that wait in the queues of the streams. */
  unsentBytes = 0;
  /** The client knows that we do not use the dynamic table of HPACK. */
  #hasClearedTable = false;
  readonly #options: StreamSenderOptions;
  readonly #scheduler: SendScheduler;
  readonly #ledger = new SentLedger();
  /** Undefined: an answer ends its stream at once. */
  readonly #answered: AnsweredStreams | undefined;
  /** Streams that have ended and whose handlers have not been told. */
  #closing: Http2ServerStream[] = [];

  constructor(options: StreamSenderOptions) {
    this.#options = options;
    this.output = options.output;
    this.#scheduler = new SendScheduler(options.output, options.settings);
    const { lingerMs, clock } = options;
    if (lingerMs > 0) {
      const onExpired = (stream: Http2ServerStream) => this.endAnswered(stream, 'NO_ERROR');
      this.#answered = new AnsweredStreams({ lingerMs, clock, onExpired });
    }
  }

  /** Fills the output with frames of the streams. */
  pull(): void {
    this.#scheduler.pull();
  }

  /** The client raises the window of the connection. Returns false when it exceeds 2^31 - 1. */
  addWindow(bytes: number): boolean {
    return this.#scheduler.addWindow(bytes);
  }

  /** Bytes may have left the process. True when they have. */
  flushed(): boolean {
    const { totalBytes, queuedBytes } = this.output.output;
    const isNews = this.#ledger.taken(totalBytes - queuedBytes);
    this.tellClosed();
    return isNews;
  }

  /** The connection has ended. The handlers of its streams are told by `tellClosed`. */
  drop(streams: readonly Http2ServerStream[]): void {
    for (const stream of streams) stream.drop();
    this.#closing.push(...streams);
    this.#answered?.clear();
  }

  /** Tells the handlers of streams that have ended and do not know it. */
  tellClosed(): void {
    while (this.#closing.length > 0) {
      const closing = this.#closing;
      this.#closing = [];
      for (const stream of closing) stream.closed();
    }
  }

  /** Writes RST_STREAM. Frames of the client for this stream are no errors after that. */
  writeReset(streamId: number, code: Http2ErrorCode): void {
    this.#options.control.rstStream(streamId, code);
    this.#options.streams.endedByUs(streamId);
  }

  /** The handler of the stream was told the end, and the client's half is open. */
  isAnswered(stream: Http2ServerStream): boolean {
    return this.#answered?.has(stream) === true;
  }

  /** Ends the client's half of an answered stream. */
  endAnswered(stream: Http2ServerStream, code: Http2ErrorCode): void {
    this.writeReset(stream.id, code);
    this.remove(stream);
  }

  remove(stream: Http2ServerStream): void {
    this.#options.streams.remove(stream.id);
    this.#answered?.remove(stream);
    this.#options.onRemoved();
  }

  // The calls of the streams.

  writeHeaders(stream: Http2ServerStream, block: Uint8Array, isEnd: boolean): void {
    const { control, settings } = this.#options;
    let toSend = block;
    if (settings.isTableReduced && !this.#hasClearedTable) {
      this.#hasClearedTable = true;
      toSend = Buffer.concat([clearTable, block]);
    }
    control.headers(stream.id, toSend, isEnd, settings.maxFrameBytes);
  }

  sendNow(stream: Http2ServerStream, bytes: Uint8Array): number {
    return this.#scheduler.sendNow(stream, bytes);
  }

  streamReady(stream: Http2ServerStream): void {
    this.#scheduler.ready(stream);
  }

  streamFinished(stream: Http2ServerStream): void {
    // The client's half is not needed any more (RFC 9113, section 8.1).
    if (this.#answered === undefined && !stream.isRemoteEnded && !stream.keepsReading) {
      this.writeReset(stream.id, 'NO_ERROR');
    }
    this.track(stream, 0, 0);
  }

  streamAnswered(stream: Http2ServerStream): void {
    if (this.#answered === undefined) return this.streamClosed(stream);
    this.#answered.add(stream);
    stream.closed();
  }

  streamClosed(stream: Http2ServerStream): void {
    this.remove(stream);
    stream.closed();
  }

  resetStream(stream: Http2ServerStream, code: Http2ErrorCode): void {
    this.writeReset(stream.id, code);
    stream.drop();
    this.#closing.push(stream);
    this.remove(stream);
  }

  giveBack(stream: Http2ServerStream, increment: number): void {
    this.#options.control.windowUpdate(stream.id, increment);
  }

  heldChanged(bytes: number): void {
    this.#options.window.heldChanged(bytes);
  }

  unsentChanged(bytes: number): void {
    this.unsentBytes += bytes;
  }

  track(stream: Http2ServerStream, bytes: number, pieces: number): void {
    if (bytes > 0) this.#options.controls.allowOne();
    this.#ledger.add(stream, this.output.output.totalBytes, bytes, pieces);
  }
}
