import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Clock, Timer } from '../base/clock.ts';
import type {
  CertificateSubject,
  FrontHandler,
  FrontStream,
  GrpcStatus,
  OwnerOfBytes,
} from './front.ts';

export interface Http2FrontStreamOptions {
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly clock: Clock;
  /** `BridgeLimits.lingerMs`. */
  readonly lingerMs: number;
  /** Bytes have left the process while more bytes of this call are queued. */
  readonly onProgress: () => void;
}

/** A call on node:http2. */
export class Http2FrontStream implements FrontStream {
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  readonly #headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  readonly #clock: Clock;
  readonly #lingerMs: number;
  #lingerTimer: Timer | undefined;
  readonly #onProgress: () => void;
  #handler: FrontHandler | undefined;
  #queuedBytes = 0;
  /** Sizes and owners of writes that are not complete, both in order. */
  readonly #queuedSizes: number[] = [];
  readonly #queuedOwners: (OwnerOfBytes | undefined)[] = [];
  #status: GrpcStatus | undefined;
  #message = '';

  constructor(stream: ServerHttp2Stream, options: Http2FrontStreamOptions) {
    this.peer = options.peer;
    this.subject = options.subject;
    this.#headers = options.headers;
    this.#stream = stream;
    this.#clock = options.clock;
    this.#lingerMs = options.lingerMs;
    this.#onProgress = options.onProgress;
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.on('close', () => this.#onClose());
  }

  /** Starts reading. */
  handle(handler: FrontHandler): void {
    this.#handler = handler;
    if (handler.respondsLater !== true) this.respond();
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

  metadata(name: string): readonly string[] {
    const value = this.#headers[name];
    return value === undefined ? [] : [value].flat();
  }

  respond(metadata: Readonly<Record<string, string>> = {}): void {
    const stream = this.#stream;
    if (stream.headersSent || stream.destroyed || stream.closed) return;
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', ...metadata },
      { waitForTrailers: true },
    );
  }

  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.#status !== undefined || this.#stream.destroyed || this.#stream.closed) {
      owner?.onReleased();
      return;
    }
    this.respond();
    this.#queuedBytes += bytes.length;
    this.#queuedSizes.push(bytes.length);
    this.#queuedOwners.push(owner);
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
    this.respond();
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
    // Clients close their half now. A client that does not would keep the stream for ever. The
    // stream's own timeout does not help, because it starts again with each byte that the client
    // sends.
    this.#lingerTimer = this.#clock.setTimer(this.#lingerMs, () =>
      this.#stream.close(constants.NGHTTP2_NO_ERROR),
    );
  }

  readonly #onWritten = (error?: Error | null): void => {
    this.#queuedBytes -= this.#queuedSizes.shift()!;
    const owner = this.#queuedOwners.shift();
    // Of a write that failed, the socket may still hold a part.
    if (error) {
      owner?.onAbandoned();
      return;
    }
    owner?.onReleased();
    if (this.#queuedBytes > 0) this.#onProgress();
    this.#handler?.onSent();
  };

  #onClose(): void {
    this.#lingerTimer?.cancel();
    for (const owner of this.#queuedOwners) owner?.onAbandoned();
    this.#queuedOwners.fill(undefined);
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose();
  }
}
