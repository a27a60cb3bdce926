import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Clock, Timer } from '../base/clock.ts';
import type { FrontHandler, FrontStream, GrpcStatus } from './front.ts';
import type { PacketBuffer, PacketBufferPool } from './packet-buffer.ts';

export interface Http2FrontStreamOptions {
  readonly peer: string;
  readonly pool: PacketBufferPool;
  readonly clock: Clock;
  /** `BridgeLimits.lingerMs`. */
  readonly lingerMs: number;
  /** Bytes have left the process, and more of this call wait. */
  readonly onProgress: () => void;
}

/** A call on node:http2. The response's head is sent at once; a status follows in the trailers. */
export class Http2FrontStream implements FrontStream {
  readonly peer: string;
  readonly #stream: ServerHttp2Stream;
  readonly #pool: PacketBufferPool;
  readonly #clock: Clock;
  readonly #lingerMs: number;
  #lingerTimer: Timer | undefined;
  readonly #onProgress: () => void;
  #handler: FrontHandler | undefined;
  #queuedBytes = 0;
  /** What has been written and not yet taken: sizes, and the buffers that are ours to recycle, both in order. */
  readonly #queuedSizes: number[] = [];
  readonly #queuedBuffers: (PacketBuffer | undefined)[] = [];
  #status: GrpcStatus | undefined;
  #message = '';

  constructor(stream: ServerHttp2Stream, options: Http2FrontStreamOptions) {
    this.peer = options.peer;
    this.#stream = stream;
    this.#pool = options.pool;
    this.#clock = options.clock;
    this.#lingerMs = options.lingerMs;
    this.#onProgress = options.onProgress;
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.on('close', () => this.#onClose());
  }

  /** Starts reading. */
  handle(handler: FrontHandler): void {
    this.#handler = handler;
    this.#stream.on('data', (bytes: Buffer) => {
      if (this.#status === undefined) this.#handler?.onData(bytes);
    });
    this.#stream.on('end', () => {
      if (this.#status === undefined) this.#handler?.onEnd();
    });
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get queuedPackets(): number {
    return this.#queuedSizes.length;
  }

  send(bytes: Uint8Array, buffer?: PacketBuffer): void {
    if (this.#status !== undefined || this.#stream.destroyed || this.#stream.closed) {
      if (buffer) this.#pool.recycle(buffer);
      return;
    }
    this.#queuedBytes += bytes.length;
    this.#queuedSizes.push(bytes.length);
    this.#queuedBuffers.push(buffer);
    this.#stream.write(bytes, this.#onWritten);
  }

  pause(): void {
    if (this.#status === undefined) this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(status: GrpcStatus, message = ''): void {
    if (this.#status !== undefined) return;
    this.#status = status;
    this.#message = message;
    if (this.#stream.destroyed) return;
    this.#stream.end();
    this.#stream.resume();
  }

  abort(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #sendTrailers(): void {
    if (this.#stream.closed || this.#stream.destroyed) return;
    const message = encodeURIComponent(this.#message);
    this.#stream.sendTrailers({
      'grpc-status': String(this.#status),
      ...(message !== '' && { 'grpc-message': message }),
    });
    // Clients close their half now. One that does not would keep the stream for ever. The timeout of the stream itself would not do:
    // it begins again with each byte that the client sends.
    this.#lingerTimer = this.#clock.setTimer(this.#lingerMs, () =>
      this.#stream.close(constants.NGHTTP2_NO_ERROR),
    );
  }

  readonly #onWritten = (error?: Error | null): void => {
    this.#queuedBytes -= this.#queuedSizes.shift()!;
    const buffer = this.#queuedBuffers.shift();
    // A write that failed may still be half in the socket's hands, so its buffer is not filled again.
    if (error) {
      if (buffer) this.#pool.drop(buffer);
      return;
    }
    if (buffer) this.#pool.recycle(buffer);
    if (this.#queuedBytes > 0) this.#onProgress();
    this.#handler?.onSent();
  };

  #onClose(): void {
    this.#lingerTimer?.cancel();
    for (const buffer of this.#queuedBuffers) if (buffer) this.#pool.drop(buffer);
    this.#queuedBuffers.fill(undefined);
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose();
  }
}
