import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { type SenderOwner, SocketSender } from '../base/net/socket-sender.ts';
import type { BusyWindows } from '../http2/busy-windows.ts';
import type { Http2Error } from '../http2/http2-error.ts';
import { defaultHttp2Limits } from '../http2/http2-limits.ts';
import type { Http2ConnectionOwner } from '../http2/connection-owner.ts';
import { Http2ServerConnection } from '../http2/server-connection.ts';
import type { RequestHead } from '../http2/request-head.ts';
import type { Http2ServerStream } from '../http2/server-stream.ts';
import type { Http2StreamHandler } from '../http2/stream-handler.ts';
import { ClientWatch, type WatchedConnection } from './client-watch.ts';
import type { FrontLimits } from './front-limits.ts';
import { type FrontMethods, GrpcStatus } from './front.ts';
import type { CertificateSubject } from './certificate-subject.ts';
import { GrpcCall, type GrpcCaller, refuseCall, refuseRequest } from './grpc-call.ts';
import type { SocketProtocol } from './socket-protocol.ts';

export interface GrpcConnectionOptions {
  readonly socket: Socket;
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  readonly methods: FrontMethods;
  readonly limits: FrontLimits;
  readonly busyWindows: BusyWindows;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once, when the client has sent its first frame. */
  readonly onReady: () => void;
}

/** A client's HTTP/2 connection on its socket: passes requests to the methods of the listener. */
export class GrpcConnection
  implements SocketProtocol, Http2ConnectionOwner, SenderOwner, WatchedConnection, GrpcCaller
{
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  receivedBytes = 0;
  readonly #options: GrpcConnectionOptions;
  readonly #sender: SocketSender;
  readonly #http2: Http2ServerConnection;
  readonly #watch: ClientWatch;
  #isEnding = false;
  #isClosed = false;
  #endTimer: Timer | undefined;

  constructor(options: GrpcConnectionOptions) {
    const { socket, limits, clock } = options;
    this.peer = options.peer;
    this.subject = options.subject;
    this.#options = options;
    this.#sender = new SocketSender(socket, this);
    this.#http2 = new Http2ServerConnection({
      owner: this,
      output: this.#sender,
      limits: {
        ...defaultHttp2Limits,
        maxStreams: limits.maxStreamsPerConnection,
        windowBytes: limits.windowBytes,
      },
      busyWindows: options.busyWindows,
      clock,
    });
    this.#watch = new ClientWatch({
      connection: this,
      limits,
      clock,
      onDead: (silentMs) => this.#onDead(silentMs),
    });
  }

  /** Takes no new calls. Open calls continue, and the connection ends after them. Idempotent. */
  shutdown(): void {
    this.#http2.shutdown();
  }

  // The calls of the socket and the sender.

  push(bytes: Uint8Array): void {
    this.receivedBytes += bytes.length;
    this.#http2.push(bytes);
  }

  /** A client without its half can neither open calls nor give windows back. */
  onSocketEnd(): void {
    // What waits for the end of the turn is dropped: a write to a destroyed socket makes an error,
    // with a stack.
    this.#sender.destroy();
    this.#options.socket.destroy();
  }

  onSocketClose(): void {
    this.#isClosed = true;
    this.#endTimer?.cancel();
    this.#http2.destroy();
    this.#sender.destroy();
  }

  readonly canPull = true;

  pull(): void {
    this.#http2.pull();
  }

  onFlushed(): void {
    this.#http2.onFlushed();
    if (this.#isEnding && !this.#sender.hasQueued) this.#options.socket.end();
  }

  onDrained(): void {
    if (this.#isEnding && !this.#isClosed) this.#options.socket.end();
  }

  // The calls of the watch.

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Any byte of the client is an answer, so the call for the answer itself does nothing. */
  ping(): void {
    this.#http2.roundTrip(() => {});
  }

  // The calls of the gRPC calls.

  roundTrip(onAnswered: () => void): void {
    this.#http2.roundTrip(onAnswered);
  }

  forgetRoundTrip(onAnswered: () => void): void {
    this.#http2.forgetRoundTrip(onAnswered);
  }

  callEnded(): void {
    this.#watch.callEnded();
  }

  // The calls of the HTTP/2 connection.

  onReady(): void {
    this.#options.onReady();
  }

  onProgress(): void {
    this.#watch.progressed();
  }

  onRequest(
    stream: Http2ServerStream,
    { method, path, fields }: RequestHead,
  ): Http2StreamHandler | undefined {
    const contentType = fields.find(({ name }) => name === 'content-type')?.value;
    const accept = this.#options.methods.get(path);
    if (method !== 'POST') refuseRequest(stream, 405);
    else if (contentType?.startsWith('application/grpc') !== true) refuseRequest(stream, 415);
    else if (accept === undefined) {
      refuseCall(stream, GrpcStatus.unimplemented, `unknown method ${path}`);
    } else {
      this.#watch.callBegan();
      const call = new GrpcCall(stream, fields, this);
      stream.handle(call);
      call.handle(accept(call));
      return call;
    }
    return undefined;
  }

  onFailed(error: Http2Error): void {
    this.#options.log.warn('konnectivity client broke a rule of HTTP/2, its connection is closed', {
      peer: this.peer,
      code: error.code,
      error: error.message,
    });
    this.#end();
  }

  onStreamsEnded(): void {
    this.#end();
  }

  /** Closes the socket after everything that was written. */
  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { clock, limits, socket } = this.#options;
    // What the client still sends is read and dropped, so that the kernel does not reset the
    // connection before GOAWAY has arrived.
    this.#endTimer = clock.setTimer(limits.handshakeTimeoutMs, () => socket.destroy());
    this.#sender.planTurn();
  }

  #onDead(silentMs: number): void {
    this.#options.log.warn('konnectivity client does not answer, its connection is closed', {
      peer: this.peer,
      silentMs: Math.round(silentMs),
    });
    this.#options.socket.destroy();
  }
}
