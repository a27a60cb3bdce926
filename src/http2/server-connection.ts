import type { Clock } from '../base/clock.ts';
import type { BusyWindows } from './busy-windows.ts';
import { ConnectionDrain } from './connection-drain.ts';
import type { Http2ConnectionOwner } from './connection-owner.ts';
import { ConnectionWindow } from './connection-window.ts';
import { ControlWriter } from './control-writer.ts';
import { type FrameEvents, FrameReceiver, type ReceivedHeaders } from './frame-receiver.ts';
import type { HeaderField } from './hpack-static-table.ts';
import { Http2Error, type Http2ErrorCode } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import type { Http2Output } from './http2-output.ts';
import { PeerSettings } from './peer-settings.ts';
import { RateLimit } from './rate-limit.ts';
import { areTrailers } from './request-head.ts';
import { RoundTrips } from './round-trips.ts';
import type { Http2ServerStream } from './server-stream.ts';
import { StreamAcceptor } from './stream-acceptor.ts';
import { StreamSender } from './stream-sender.ts';
import { StreamTable } from './stream-table.ts';

export interface Http2ServerConnectionOptions {
  readonly owner: Http2ConnectionOwner;
  readonly output: Http2Output;
  readonly limits: Http2Limits;
  /** Announces extended CONNECT (RFC 8441; default false). */
  readonly allowsExtendedConnect?: boolean;
  /** Of all connections of a listener (default: every stream has the same window). */
  readonly busyWindows?: BusyWindows;
  readonly clock: Clock;
}

const roundTripPing = Buffer.from('received', 'latin1');

/**
 * The server's end of an HTTP/2 connection (RFC 9113), without a socket: `push` takes what the
 * client sends, and frames to the client are copied into `output`. It serves requests only: no push
 * and no priorities.
 */
export class Http2ServerConnection implements FrameEvents {
  readonly #output: Http2Output;
  readonly #owner: Http2ConnectionOwner;
  readonly #maxQueuedBytes: number;
  readonly #receiver: FrameReceiver;
  readonly #settings = new PeerSettings();
  readonly #control: ControlWriter;
  readonly #sender: StreamSender;
  readonly #window: ConnectionWindow;
  readonly #resets: RateLimit;
  readonly #controls: RateLimit;
  readonly #streams = new StreamTable();
  readonly #roundTrips = new RoundTrips(() => {
    // The answer is not one of the frames that the client sends without a reason.
    this.#controls.allowOne();
    this.#control.ping(roundTripPing, false);
  });
  #state: 'open' | 'failed' | 'destroyed' = 'open';
  #isReady = false;
  readonly #drain: ConnectionDrain;
  readonly #acceptor: StreamAcceptor;
  /** The stream of the DATA frame that is being delivered. */
  #dataStream: Http2ServerStream | undefined;

  constructor(options: Http2ServerConnectionOptions) {
    const { owner, output, limits, allowsExtendedConnect = false, clock } = options;
    this.#owner = owner;
    this.#output = output;
    this.#maxQueuedBytes = limits.maxQueuedBytes;
    const { resetBurst, resetsPerSecond, controlBurst, controlsPerSecond } = limits;
    this.#resets = new RateLimit('reset streams', resetBurst, resetsPerSecond, clock);
    this.#controls = new RateLimit('idle frames', controlBurst, controlsPerSecond, clock);
    this.#receiver = new FrameReceiver(this, limits, this.#controls);
    this.#control = new ControlWriter(output);
    this.#window = new ConnectionWindow(limits, this.#control);
    this.#sender = new StreamSender({
      output,
      control: this.#control,
      settings: this.#settings,
      window: this.#window,
      controls: this.#controls,
      streams: this.#streams,
      lingerMs: limits.answeredLingerMs,
      clock,
      onRemoved: () => this.#drain.check(),
    });
    this.#acceptor = new StreamAcceptor({
      ...options,
      settings: this.#settings,
      sender: this.#sender,
      streams: this.#streams,
      resets: this.#resets,
    });
    this.#drain = new ConnectionDrain({
      control: this.#control,
      roundTrips: this.#roundTrips,
      streams: this.#streams,
      onEnded: () => owner.onStreamsEnded(),
    });
    this.#control.begin(limits, allowsExtendedConnect, this.#window.sizeBytes);
  }

  /** The client has sent a part of a head. */
  get isInHead(): boolean {
    return this.#receiver.isInHead;
  }

  /** Takes bytes of the client. Borrowed: valid until this returns. Never throws an Http2Error. */
  push(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    try {
      this.#receiver.push(bytes);
      this.#checkQueue();
    } catch (thrown) {
      if (!(thrown instanceof Http2Error)) throw thrown;
      this.#fail(thrown);
    }
  }

  /** Fills the output with frames of the streams. */
  pull(): void {
    if (this.#state === 'open') this.#sender.pull();
  }

  /** Bytes may have left the process. */
  onFlushed(): void {
    if (this.#state === 'destroyed') return;
    const isNews = this.#sender.flushed();
    if (isNews && this.#output.output.queuedBytes > 0) this.#owner.onProgress();
  }

  /** Calls `onAnswered` when the client has read all that was sent. Never after the end. */
  roundTrip(onAnswered: () => void): void {
    if (this.#state === 'open') this.#roundTrips.add(onAnswered);
  }

  /** `onAnswered` is not called any more. Idempotent. */
  forgetRoundTrip(onAnswered: () => void): void {
    this.#roundTrips.delete(onAnswered);
  }

  /**
   * Takes no new streams, and loses none (see `ConnectionDrain`). Open streams continue.
   * Idempotent.
   */
  shutdown(): void {
    if (this.#state === 'open') this.#drain.begin();
  }

  /** Waits no longer for the client's answer to `shutdown`. Idempotent. */
  finishShutdown(): void {
    if (this.#state === 'open') this.#drain.finish();
  }

  /** The socket is closed: ends all streams. Idempotent. */
  destroy(): void {
    if (this.#state === 'destroyed') return;
    this.#state = 'destroyed';
    this.#dropStreams();
    this.#sender.tellClosed();
  }

  // The frames of the client.

  onDataBegin(streamId: number, lengthBytes: number): void {
    const stream = this.#streams.find(streamId, 'DATA');
    this.#window.receive(lengthBytes);
    this.#dataStream = stream;
    if (stream === undefined) {
      if (!this.#streams.isEndedByUs(streamId)) this.#refuseFrame(streamId);
    } else if (stream.isRemoteEnded) this.#streamError(stream, 'STREAM_CLOSED');
    else if (!stream.receive(lengthBytes)) this.#streamError(stream, 'FLOW_CONTROL_ERROR');
  }

  onDataPiece(bytes: Uint8Array): void {
    const stream = this.#dataStream;
    if (stream?.onData(bytes) === false) this.#streamError(stream, 'PROTOCOL_ERROR');
  }

  onDataEnd(lengthBytes: number, isEndOfStream: boolean): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (stream === undefined) return;
    stream.onDataEnd(lengthBytes);
    if (isEndOfStream) this.#remoteEnd(stream, []);
  }

  onHeaders(headers: ReceivedHeaders): void {
    const { streamId, isEndOfStream, fields, problem } = headers;
    if (this.#streams.use(streamId)) return this.#onRequest(headers);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (!this.#streams.isEndedByUs(streamId)) {
        throw new Http2Error('STREAM_CLOSED', `HEADERS for stream ${streamId}, which has ended`);
      }
      return this.#controls.count();
    }
    if (stream.isRemoteEnded) this.#streamError(stream, 'STREAM_CLOSED');
    else if (problem !== undefined) this.#streamError(stream, problem);
    else if (!isEndOfStream || !areTrailers(fields)) this.#streamError(stream, 'PROTOCOL_ERROR');
    else this.#remoteEnd(stream, fields);
  }

  onWindowUpdate(streamId: number, increment: number): void {
    if (streamId === 0) {
      if (increment === 0) throw new Http2Error('PROTOCOL_ERROR', 'WINDOW_UPDATE of 0 bytes');
      if (this.#sender.addWindow(increment)) return;
      throw new Http2Error('FLOW_CONTROL_ERROR', 'the window of the connection is too large');
    }
    const stream = this.#streams.find(streamId, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) this.#streamError(stream, 'PROTOCOL_ERROR');
    else if (!stream.addSendWindow(increment)) this.#streamError(stream, 'FLOW_CONTROL_ERROR');
    else this.#sender.streamReady(stream);
  }

  onRstStream(streamId: number): void {
    this.#resets.count();
    const stream = this.#streams.find(streamId, 'RST_STREAM');
    if (stream === undefined) return;
    if (this.#dataStream === stream) this.#dataStream = undefined;
    stream.drop();
    this.#sender.remove(stream);
    stream.closed();
  }

  onSettings(payload: Uint8Array): void {
    const before = this.#settings.initialWindowBytes;
    this.#settings.read(payload);
    const change = this.#settings.initialWindowBytes - before;
    for (const stream of change === 0 ? [] : this.#streams.values()) {
      if (!stream.addSendWindow(change)) {
        throw new Http2Error('FLOW_CONTROL_ERROR', 'SETTINGS makes a window too large');
      }
      this.#sender.streamReady(stream);
    }
    this.#control.settingsAck();
    if (this.#isReady) return;
    this.#isReady = true;
    this.#owner.onReady();
  }

  onPing(payload: Uint8Array, isAck: boolean): void {
    if (!isAck) this.#control.ping(payload, true);
    else if (roundTripPing.equals(payload)) this.#roundTrips.answered();
  }

  onPriorityProblem(streamId: number, code: Http2ErrorCode): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) throw new Http2Error(code, `wrong PRIORITY of stream ${streamId}`);
    this.#streamError(stream, code);
  }

  #onRequest(headers: ReceivedHeaders): void {
    if (this.#drain.isFinal) {
      // The second GOAWAY has told the client that this stream is not accepted.
      this.#streams.endedByUs(headers.streamId);
      return;
    }
    const stream = this.#acceptor.accept(headers);
    if (stream !== undefined && headers.isEndOfStream) this.#remoteEnd(stream, []);
  }

  #remoteEnd(stream: Http2ServerStream, trailers: readonly HeaderField[]): void {
    if (this.#sender.isAnswered(stream)) this.#sender.remove(stream);
    else if (!stream.onRemoteEnd(trailers)) this.#streamError(stream, 'PROTOCOL_ERROR');
  }

  /** Resets a stream because of its client. That costs us as much as a reset by the client. */
  #streamError(stream: Http2ServerStream, code: Http2ErrorCode): void {
    this.#resets.count();
    if (this.#dataStream === stream) this.#dataStream = undefined;
    if (this.#sender.isAnswered(stream)) this.#sender.endAnswered(stream, code);
    else stream.reset(code);
  }

  /** Answers DATA for a stream that the client itself has ended. */
  #refuseFrame(streamId: number): void {
    this.#resets.count();
    this.#sender.writeReset(streamId, 'STREAM_CLOSED');
  }

  /** Bulk data never fills the output so far. Only answers that the client does not read do. */
  #checkQueue(): void {
    if (this.#output.output.queuedBytes <= this.#maxQueuedBytes) return;
    const message = `more than ${this.#maxQueuedBytes} bytes of answers are unread`;
    throw new Http2Error('ENHANCE_YOUR_CALM', message);
  }

  /** Ends all streams. Their handlers are told later. */
  #dropStreams(): void {
    this.#window.close();
    this.#sender.drop(this.#streams.takeAll());
  }

  #fail(error: Http2Error): void {
    this.#state = 'failed';
    this.#control.goAway(this.#streams.lastId, error.code, error.message);
    this.#dropStreams();
    this.#owner.onFailed(error);
  }
}
