import type { BusyWindows } from '../../src/http2/busy-windows.ts';
import type { Http2ConnectionOwner } from '../../src/http2/connection-owner.ts';
import type { Http2Error } from '../../src/http2/http2-error.ts';
import { defaultHttp2Limits, type Http2Limits } from '../../src/http2/http2-limits.ts';
import type { Http2Output } from '../../src/http2/http2-output.ts';
import { Http2ServerConnection } from '../../src/http2/server-connection.ts';
import type { HeaderField } from '../../src/http2/hpack-static-table.ts';
import type { RequestHead } from '../../src/http2/request-head.ts';
import type { Http2ServerStream } from '../../src/http2/server-stream.ts';
import type { Http2StreamHandler } from '../../src/http2/stream-handler.ts';
import { VirtualClock } from '../clock/virtual-clock.ts';
import { clientPreface, FrameSplitter, settings, settingsAck, type WireFrame } from './frames.ts';

const slabBytes = 16 * 1024;
/** How many bytes of streams the output takes before the client must read. */
const outputRoomBytes = 256 * 1024;

/** The socket of a connection: memory that grows while the client does not read. */
class ScriptedOutput implements Http2Output {
  #slab = Buffer.allocUnsafeSlow(slabBytes);
  #filled = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;
  totalBytes = 0;
  wantsPull = false;

  get output() {
    return this;
  }

  get queuedBytes(): number {
    return this.#fullBytes + this.#filled;
  }

  get room(): number {
    return outputRoomBytes - this.queuedBytes;
  }

  get slabBytes(): Uint8Array {
    return this.#slab;
  }

  written(): void {}
  planTurn(): void {}

  wake(): void {
    this.wantsPull = true;
  }

  reserve(bytes: number): number {
    if (this.#filled + bytes > this.#slab.length) this.#leaveSlab();
    return this.#filled;
  }

  fill(bytes: number): void {
    this.#filled += bytes;
    this.totalBytes += bytes;
  }

  copy(from: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end;) {
      const position = this.reserve(1);
      const count = Math.min(end - at, this.#slab.length - position);
      this.#slab.set(from.subarray(at, at + count), position);
      this.fill(count);
      at += count;
    }
  }

  /** The client reads everything. */
  take(): Buffer {
    const taken = Buffer.concat([...this.#full, this.#slab.subarray(0, this.#filled)]);
    this.#full = [];
    this.#fullBytes = this.#filled = 0;
    return taken;
  }

  #leaveSlab(): void {
    this.#full.push(this.#slab.subarray(0, this.#filled));
    this.#fullBytes += this.#filled;
    this.#slab = Buffer.allocUnsafeSlow(slabBytes);
    this.#filled = 0;
  }
}

/** A request as the server sees it, with the events of its stream. */
export class ScriptedRequest implements Http2StreamHandler {
  readonly stream: Http2ServerStream;
  readonly head: RequestHead;
  readonly events: string[] = [];
  receivedBytes = 0;
  trailers: readonly HeaderField[] = [];
  /** What the last event said. */
  isComplete: boolean | undefined;

  constructor(stream: Http2ServerStream, head: RequestHead) {
    this.stream = stream;
    this.head = head;
  }

  get isClosed(): boolean {
    return this.events.at(-1) === 'close';
  }

  onData(bytes: Uint8Array): void {
    this.receivedBytes += bytes.length;
    this.#record('data');
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.trailers = trailers;
    this.#record('end');
  }

  onSent(): void {
    this.#record('sent');
  }

  onClose(isComplete: boolean): void {
    this.isComplete = isComplete;
    this.#record('close');
  }

  /** Repeated events are recorded once. */
  #record(event: string): void {
    if (this.isClosed) this.events.push(`${event} after the last event`);
    else if (this.events.at(-1) !== event) this.events.push(event);
  }
}

export interface ScriptedConnectionOptions {
  readonly limits?: Partial<Http2Limits>;
  /** The handler of a request (default: a ScriptedRequest). */
  readonly onRequest?: (
    stream: Http2ServerStream,
    head: RequestHead,
  ) => Http2StreamHandler | undefined;
  readonly allowsExtendedConnect?: boolean;
  readonly busyWindows?: BusyWindows;
}

/** A server's connection without a socket. The test is the client, and decides when it reads. */
export class ScriptedConnection implements Http2ConnectionOwner {
  readonly clock = new VirtualClock();
  readonly connection: Http2ServerConnection;
  readonly requests: ScriptedRequest[] = [];
  /** All frames that the client has read. */
  readonly frames: WireFrame[] = [];
  failed: Http2Error | undefined;
  isDrained = false;
  readonly #output = new ScriptedOutput();
  readonly #splitter = new FrameSplitter();
  readonly #onRequest: ScriptedConnectionOptions['onRequest'];

  constructor(options: ScriptedConnectionOptions = {}) {
    const { limits, onRequest, ...others } = options;
    this.#onRequest = onRequest;
    this.connection = new Http2ServerConnection({
      owner: this,
      output: this.#output,
      limits: { ...defaultHttp2Limits, ...limits },
      ...others,
      clock: this.clock,
    });
  }

  /** A connection whose client has sent its preface and read ours. */
  static ready(options: ScriptedConnectionOptions = {}): ScriptedConnection {
    const scripted = new ScriptedConnection(options);
    scripted.push(clientPreface, settings(), settingsAck);
    scripted.read();
    return scripted;
  }

  /** Requests whose handler has not had its last event. */
  get openRequests(): readonly ScriptedRequest[] {
    return this.requests.filter(({ isClosed }) => !isClosed);
  }

  /** Bytes that the client has not read. */
  get unreadBytes(): number {
    return this.#output.queuedBytes;
  }

  /** The client sends. */
  push(...bytes: readonly Uint8Array[]): void {
    this.connection.push(bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes));
    this.#pull();
  }

  /** The client reads everything. Returns the new frames. */
  read(): WireFrame[] {
    const read: WireFrame[] = [];
    do {
      read.push(...this.#splitter.push(this.#output.take()));
      this.connection.onFlushed();
      this.#pull();
    } while (this.#output.queuedBytes > 0);
    this.frames.push(...read);
    return read;
  }

  onRequest(stream: Http2ServerStream, head: RequestHead): Http2StreamHandler | undefined {
    if (this.#onRequest !== undefined) return this.#onRequest(stream, head);
    const request = new ScriptedRequest(stream, head);
    this.requests.push(request);
    return request;
  }

  onReady(): void {}
  onProgress(): void {}

  onFailed(error: Http2Error): void {
    if (this.failed !== undefined) throw new Error('the connection fails twice');
    this.failed = error;
  }

  onStreamsEnded(): void {
    this.isDrained = true;
  }

  #pull(): void {
    while (this.#output.wantsPull && this.#output.room > 0) {
      this.#output.wantsPull = false;
      this.connection.pull();
    }
  }
}
