import type { Socket } from 'node:net';
import type { Timer } from '../../base/clock.ts';
import { releaseSocket } from '../../base/net/release-socket.ts';
import { SocketInput } from '../../base/net/socket-input.ts';
import { type SenderOwner, SocketSender } from '../../base/net/socket-sender.ts';
import type { Http2ConnectionOwner } from '../../http2/connection-owner.ts';
import type { Http2Error } from '../../http2/http2-error.ts';
import type { RequestHead } from '../../http2/request-head.ts';
import { Http2ServerConnection } from '../../http2/server-connection.ts';
import type { Http2ServerStream } from '../../http2/server-stream.ts';
import type { Http2StreamHandler } from '../../http2/stream-handler.ts';
import { GatewayError } from '../gateway-error.ts';
import type { ClientConnection } from './client-connection.ts';
import { ForwardedRequest } from './forwarded-request.ts';
import type { GatewayContext } from './gateway-context.ts';
import { Http2Client } from './http2-client.ts';
import { readHttp2Head } from './http2-request.ts';
import type { GatewayServerLimits } from './server-limits.ts';

export interface Http2ConnectionOptions {
  readonly socket: Socket;
  readonly connection: ClientConnection;
  readonly context: GatewayContext;
  readonly limits: GatewayServerLimits;
  /** No request follows, or the connection has ended. */
  readonly onDrained: () => void;
  readonly onClosed: () => void;
}

const noBytes = new Uint8Array(0);

/** A client's connection of HTTP/2 (RFC 9113) on its socket. */
export class Http2Connection implements Http2ConnectionOwner, SenderOwner {
  readonly #options: Http2ConnectionOptions;
  readonly #socket: Socket;
  readonly #sender: SocketSender;
  readonly #http2: Http2ServerConnection;
  #isEnding = false;
  #isClosed = false;
  /** Runs while a head is incomplete. */
  #headTimer: Timer | undefined;
  /** Runs while the connection ends. */
  #endTimer: Timer | undefined;

  constructor(options: Http2ConnectionOptions) {
    const { socket, context, limits } = options;
    this.#options = options;
    this.#socket = socket;
    this.#sender = new SocketSender(socket, this);
    this.#http2 = new Http2ServerConnection({
      owner: this,
      output: this.#sender,
      limits: { ...limits.http2, answeredLingerMs: limits.answeredLingerMs },
      allowsExtendedConnect: true,
      clock: context.clock,
    });
    socket.on('error', () => socket.destroy());
    // A client without its half can neither send requests nor give windows back.
    socket.on('end', () => this.close());
    socket.on('close', () => {
      this.#ended();
      this.#sender.destroy();
      options.onClosed();
      releaseSocket(socket);
    });
    new SocketInput(socket, noBytes).start((bytes) => this.#onRead(bytes));
  }

  /** No request follows. */
  get isDrained(): boolean {
    return this.#isEnding || this.#isClosed;
  }

  /** Takes no new requests, and loses none. Open requests go on. Idempotent. */
  shutdown(): void {
    if (this.#endTimer !== undefined || this.isDrained) return;
    const { context, limits } = this.#options;
    this.#http2.shutdown();
    this.#endTimer = context.clock.setTimer(limits.goAwayTimeoutMs, () =>
      this.#http2.finishShutdown(),
    );
  }

  /** Ends the connection at once. Bytes that the client cannot take now are lost. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#sender.flush();
    if (this.#sender.hasQueued) this.#socket.destroy();
    else this.#socket.destroySoon();
    this.#ended();
  }

  // The calls of the sender.

  get canPull(): boolean {
    return !this.#isClosed;
  }

  pull(): void {
    this.#http2.pull();
  }

  onFlushed(): void {
    this.#http2.onFlushed();
    if (this.#isEnding && !this.#isClosed && !this.#sender.hasQueued) this.#socket.end();
  }

  onDrained(): void {
    // `onFlushed` follows.
  }

  // The calls of the HTTP/2 connection.

  onReady(): void {}
  onProgress(): void {}

  onRequest(stream: Http2ServerStream, head: RequestHead): Http2StreamHandler {
    const { connection, context } = this.#options;
    const { host, problem, ...rest } = readHttp2Head(head);
    connection.started();
    const request = {
      ...rest,
      client: connection.client(host),
      // What follows a CONNECT is the new protocol's, and comes after the answer.
      hasBody: head.protocol === undefined && !stream.isRemoteEnded,
      certificate: connection.certificate,
    };
    const forwarded = new ForwardedRequest(context, request, connection);
    const client = new Http2Client(stream, forwarded, () => connection.ended());
    stream.handle(client);
    if (problem === undefined) forwarded.start(client);
    else forwarded.refuse(client, new GatewayError('BadRequest', problem, { hop: 'client' }));
    return client;
  }

  onFailed({ code, message }: Http2Error): void {
    const { connection, context } = this.#options;
    const peer = connection.client(undefined).address;
    context.log.debug('HTTP/2 client broke a rule', { peer, code, error: message });
    this.onStreamsEnded();
  }

  /** The client reads GOAWAY, and then the connection ends. */
  onStreamsEnded(): void {
    if (this.isDrained) return;
    const { context, limits, onDrained } = this.#options;
    this.#isEnding = true;
    this.#cancelTimers();
    // What the client still sends is read and dropped, so that the kernel does not reset the
    // connection before GOAWAY has arrived.
    this.#endTimer = context.clock.setTimer(limits.goAwayTimeoutMs, () => this.#socket.destroy());
    this.#sender.planTurn();
    onDrained();
  }

  // The socket.

  #onRead(bytes: Uint8Array): void {
    this.#http2.push(bytes);
    if (!this.#http2.isInHead || this.isDrained) {
      this.#headTimer?.cancel();
      this.#headTimer = undefined;
    } else if (this.#headTimer === undefined) {
      const { context, limits } = this.#options;
      this.#headTimer = context.clock.setTimer(limits.headTimeoutMs, () => this.#socket.destroy());
    }
  }

  /** Nothing more is sent. */
  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTimers();
    this.#http2.destroy();
    this.#options.onDrained();
  }

  #cancelTimers(): void {
    this.#headTimer?.cancel();
    this.#headTimer = undefined;
    this.#endTimer?.cancel();
  }
}
