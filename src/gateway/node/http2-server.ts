import {
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { GatewayError } from '../gateway-error.ts';
import type { ClientConnection } from './client-connection.ts';
import { ForwardedRequest } from './forwarded-request.ts';
import type { GatewayContext } from './gateway-context.ts';
import { Http2Client } from './http2-client.ts';
import { type Http2RequestHead, readHttp2Head } from './http2-request.ts';
import type { GatewayServerLimits } from './server-limits.ts';

export interface Http2ServerParts {
  readonly context: GatewayContext;
  readonly limits: GatewayServerLimits;
  readonly connectionOf: (socket: Socket) => ClientConnection;
}

/** With options of Node that its types do not have yet. */
interface AllServerOptions extends ServerOptions {
  readonly maxSessionInvalidFrames: number;
  readonly maxSessionRejectedStreams: number;
  readonly strictSingleValueFields: boolean;
}

/** Serves HTTP/2 on connections that another listener has accepted. */
export class Http2Acceptor {
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #parts: Http2ServerParts;

  constructor(parts: Http2ServerParts) {
    const { limits } = parts;
    this.#parts = parts;
    const options: AllServerOptions = {
      maxHeaderListPairs: limits.maxHeadFields,
      maxSessionInvalidFrames: limits.maxInvalidFramesPerConnection,
      maxSessionRejectedStreams: limits.maxRejectedStreamsPerConnection,
      maxSessionMemory: Math.ceil(limits.maxMemoryPerConnectionBytes / 1e6),
      maxSettings: limits.maxSettingsPerFrame,
      // A server's odd fields are for its client to judge.
      strictSingleValueFields: false,
      settings: {
        enableConnectProtocol: true,
        initialWindowSize: limits.streamWindowBytes,
        maxConcurrentStreams: limits.maxStreamsPerConnection,
        maxHeaderListSize: limits.maxHeadBytes,
      },
    };
    this.#server = createServer(options);
  }

  accept(socket: Socket): void {
    const connection = this.#parts.connectionOf(socket);
    // A client of HTTP/2 that ends its direction has gone, and Node would keep the session.
    socket.allowHalfOpen = false;
    this.#server.once('session', (session) => this.#serve(session, connection));
    this.#server.emit('connection', socket);
  }

  /** Tells all clients to use other connections. Open requests go on. */
  goAway(): void {
    for (const session of this.#sessions) session.close();
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #serve(session: ServerHttp2Session, connection: ClientConnection): void {
    this.#sessions.add(session);
    session.on('close', () => this.#sessions.delete(session));
    session.on('error', () => session.destroy());
    session.setLocalWindowSize(this.#parts.limits.connectionWindowBytes);
    session.on('stream', (stream, _headers, flags, rawHeaders: readonly string[]) => {
      this.#start(stream, { endsWithHead: (flags & 1) !== 0, rawHeaders, connection });
    });
  }

  #start(
    stream: ServerHttp2Stream,
    {
      endsWithHead,
      rawHeaders,
      connection,
    }: {
      readonly endsWithHead: boolean;
      readonly rawHeaders: readonly string[];
      readonly connection: ClientConnection;
    },
  ): void {
    const { context } = this.#parts;
    connection.started();
    stream.on('close', () => connection.ended());
    let head: Http2RequestHead = { method: '', target: '', headers: [], host: undefined };
    let problem: GatewayError | undefined;
    try {
      head = readHttp2Head(rawHeaders);
    } catch (thrown) {
      if (!(thrown instanceof GatewayError)) throw thrown;
      problem = thrown;
    }
    const { host, ...rest } = head;
    const request = {
      ...rest,
      client: connection.client(host),
      hasBody: !endsWithHead,
      certificate: connection.certificate,
    };
    const forwarded = new ForwardedRequest(context, request, connection);
    const client = new Http2Client(stream, !endsWithHead, forwarded);
    if (problem === undefined) forwarded.start(client);
    else forwarded.refuse(client, problem);
  }
}
