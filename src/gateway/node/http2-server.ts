import {
  constants,
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Timer } from '../../base/clock.ts';
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
}

/** With options of Node that its types do not have yet. */
interface AllServerOptions extends ServerOptions {
  readonly maxSessionInvalidFrames: number;
  readonly maxSessionRejectedStreams: number;
  readonly strictSingleValueFields: boolean;
}

interface ServedSession {
  readonly session: ServerHttp2Session;
  /** Streams that became requests. */
  startedStreams: number;
}

/** Serves HTTP/2 on connections that another listener has accepted. */
export class Http2Acceptor {
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServedSession>();
  readonly #parts: Http2ServerParts;
  readonly #rejectionCheck: Timer;

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
    this.#rejectionCheck = parts.context.clock.setTimer(
      limits.rejectedStreamsCheckIntervalMs,
      () => {
        for (const served of this.#sessions) this.#checkRejections(served);
        this.#rejectionCheck.restart();
      },
    );
  }

  accept(socket: Socket, connection: ClientConnection): void {
    // A client of HTTP/2 that ends its direction has gone, and Node would keep the session.
    socket.allowHalfOpen = false;
    this.#server.once('session', (session) => this.#serve(session, connection));
    this.#server.emit('connection', socket);
  }

  /** Tells all clients to use other connections. Open requests go on. */
  goAway(): void {
    for (const { session } of this.#sessions) session.close();
  }

  close(): void {
    this.#rejectionCheck.cancel();
    for (const { session } of this.#sessions) session.destroy();
  }

  #serve(session: ServerHttp2Session, connection: ClientConnection): void {
    const served: ServedSession = { session, startedStreams: 0 };
    this.#sessions.add(served);
    session.on('close', () => this.#sessions.delete(served));
    session.on('error', () => session.destroy());
    session.setLocalWindowSize(this.#parts.limits.connectionWindowBytes);
    session.on('stream', (stream, _headers, flags, rawHeaders: readonly string[]) => {
      served.startedStreams++;
      this.#start(stream, { endsWithHead: (flags & 1) !== 0, rawHeaders, connection });
    });
  }

  /**
   * Ends a connection with too many rejected streams. Node resets a stream whose head is too long
   * and reports it to no listener and to none of its own limits. The numbers of streams show it:
   * the client's numbers are odd, and a number without a request was rejected.
   */
  #checkRejections({ session, startedStreams }: ServedSession): void {
    if (session.destroyed) return;
    const received = ((session.state.lastProcStreamID ?? 0) + 1) >> 1;
    if (received - startedStreams <= this.#parts.limits.maxRejectedStreamsPerConnection) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
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
