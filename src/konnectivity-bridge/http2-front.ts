import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { ConnectionGuard } from '../base/server/connection-guard.ts';
import type { ConnectionRefusal } from '../base/server/connection-limits.ts';
import { isAgentName } from '../base/names/agent-subject.ts';
import { asError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { formatPeer } from '../base/net/format-peer.ts';
import { listenAt } from '../base/server/listen.ts';
import { trustClientsOf } from '../base/tls/tls-trust.ts';
import { BridgeError } from './bridge-error.ts';
import { ClientWatch } from './client-watch.ts';
import { type AcceptCall, type Front, GrpcStatus } from './front.ts';
import { Http2FrontStream } from './http2-front-stream.ts';
import { refuseHttp1 } from './http1-refusal.ts';
import type { ClientRefusal } from './metrics.ts';
import type { BridgeLimits, TcpAddress } from './options.ts';
import type { PacketBufferPool } from './packet-buffer.ts';
import type { TlsMaterial } from './tls-files.ts';
import { removeStaleSocket, withSocketMode } from './unix-socket.ts';

const proxyPath = '/ProxyService/Proxy';

export interface Http2FrontOptions {
  /** A TCP address, or the path of a Unix socket. */
  readonly listen: TcpAddress | string;
  /** Without it the front speaks HTTP/2 in the clear (with prior knowledge). */
  readonly tls?: TlsMaterial;
  readonly limits: BridgeLimits;
  readonly pool: PacketBufferPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly accept: AcceptCall;
  /** Told of each connection that is closed although its certificate comes from the client CA. */
  readonly clientRefused: (why: ClientRefusal) => void;
  /** Told of each connection that is closed because of the limits. */
  readonly connectionClosed: (why: ConnectionRefusal) => void;
}

/** gRPC on node:http2: a third of the cost per byte of @grpc/grpc-js (docs/benchmarks.md). @throws BridgeError `listen_failed` */
export async function startHttp2Front(options: Http2FrontOptions): Promise<Front> {
  const front = new Http2Front(options);
  await front.listen();
  return front;
}

class Http2Front implements Front {
  readonly #options: Http2FrontOptions;
  readonly #server: Http2Server | Http2SecureServer;
  /** Every TCP or Unix connection, also before its handshake and after the end of its session. */
  readonly #sockets = new Set<Socket>();
  /** The connection whose session is being made: node:http2 does not let the session's user destroy it. */
  #newSocket: Socket | undefined;
  #accepting = true;
  #warnedOfHttp1 = false;
  #address = '';
  readonly #closed = Promise.withResolvers<void>();
  /** Undefined for a Unix socket, whose clients have no address and are the owner's own. */
  readonly #guard: ConnectionGuard | undefined;

  constructor(options: Http2FrontOptions) {
    this.#options = options;
    this.#server = createHttp2Server(options);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    // Before the server's own listener, which makes the session and says so at once.
    const isReady = options.tls ? 'secureConnection' : 'connection';
    this.#server.prependListener(isReady, (socket: Socket) => (this.#newSocket = socket));
    this.#guard = this.#guardOf(options);
    this.#server.on('session', (session) => this.#onSession(session));
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#refuseAgents(socket));
    this.#server.once('close', () => this.#closed.resolve());
    // Each failure has been told to its session already, or there was never one.
    this.#server.on('sessionError', (error: Error) => this.#logFailure(error));
    this.#server.on('tlsClientError', (error: Error) => this.#logFailure(error));
    // A client that did not negotiate h2 would get another HTTP/1.1 answer and ten seconds to read it.
    this.#server.on('unknownProtocol', (socket) => this.#refuseHttp1(socket));
  }

  get address(): string {
    return this.#address;
  }

  async listen(): Promise<void> {
    const { listen, log } = this.#options;
    try {
      if (typeof listen === 'string') {
        await removeStaleSocket(listen);
        const listening = once(this.#server, 'listening');
        withSocketMode(() => this.#server.listen(listen));
        await listening;
      } else {
        await listenAt(this.#server, listen, log);
      }
    } catch (error) {
      if (error instanceof BridgeError) throw error;
      throw new BridgeError(
        'listen_failed',
        `the bridge cannot listen: ${asError(error).message}`,
        { cause: error },
      );
    }
    this.#server.on('error', (error: Error) => this.#logFailure(error));
    this.#address = addressOf(this.#server.address());
  }

  setTls(material: TlsMaterial): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(secureContext(material));
  }

  stopAccepting(): void {
    if (!this.#accepting) return;
    this.#accepting = false;
    // Says GOAWAY(NO_ERROR) with the last stream that was taken: those go on, new ones go elsewhere.
    this.#server.close();
  }

  async close(): Promise<void> {
    this.stopAccepting();
    this.#guard?.[Symbol.dispose]();
    // Not the sessions: one that was told GOAWAY would wait for its client to hang up.
    for (const socket of this.#sockets) socket.destroy();
    await this.#closed.promise;
  }

  #guardOf({ listen, limits, log, connectionClosed }: Http2FrontOptions) {
    if (typeof listen === 'string') {
      this.#server.maxConnections = limits.maxConnections;
      this.#server.on('drop', () => connectionClosed('total'));
      return undefined;
    }
    return new ConnectionGuard(this.#server, {
      limits: {
        maxConnections: limits.maxConnections,
        maxUnauthenticated: limits.maxHandshakes,
        maxUnauthenticatedPerAddress: Math.ceil(limits.maxHandshakes / 2),
        maxPerAddress: limits.maxConnectionsPerAddress,
        // The handshake and the first frame have this long each; their own timers say so before.
        requestTimeoutMs: 3 * limits.handshakeTimeoutMs,
        answerTimeoutMs: Infinity,
      },
      listener: 'konnectivity clients',
      log,
      onClosed: connectionClosed,
    });
  }

  /**
   * The CA of clients is older than we are: Cluster Proxy signed its agents' certificates with it as well, and those are still valid. The
   * session has been made by now and has said nothing yet, so the client sees what it sees with a certificate of another CA.
   */
  #refuseAgents(socket: TLSSocket): void {
    // It did not negotiate h2, say: then there is nobody left to ask.
    if (socket.destroyed) return;
    const { subject } = socket.getPeerCertificate();
    // A part of the name that is there several times is an array.
    const names = [subject?.CN, subject?.O].flat().filter((name) => name !== undefined);
    if (!names.some(isAgentName)) return;
    this.#options.clientRefused('agent_certificate');
    this.#options.log.warn('konnectivity client refused: its certificate is that of an agent', {
      peer: formatPeer(socket),
      subject: names,
    });
    socket.destroy();
  }

  #onSession(session: ServerHttp2Session): void {
    const { limits, clock } = this.#options;
    const peer = peerOf(session, this.#address);
    const timer = clock.setTimer(limits.handshakeTimeoutMs, () => {
      this.#options.log.debug('konnectivity connection said nothing', { peer });
      session.destroy();
    });
    session.once('remoteSettings', () => {
      timer.cancel();
      this.#guard?.authenticated(session.socket);
    });
    session.once('close', () => timer.cancel());
    // Told by 'sessionError' of the server; without a listener it would be thrown.
    session.on('error', () => {});
    const watch = this.#watch(session, this.#newSocket!, peer);
    session.on('stream', (stream, headers) => {
      watch.callBegan();
      stream.once('close', () => watch.callEnded());
      this.#onStream(stream, headers, peer, () => watch.progressed());
    });
    session.setLocalWindowSize(4 * limits.windowBytes);
  }

  #watch(session: ServerHttp2Session, socket: Socket, peer: string): ClientWatch {
    const { limits, clock, log } = this.#options;
    const onDead = (silentMs: number): void => {
      log.warn('konnectivity client does not answer: its connection is closed', {
        peer,
        silentMs: Math.round(silentMs),
      });
      // Not the session, which would wait until its last write is done.
      socket.destroy();
    };
    return new ClientWatch({ session, socket, limits, clock, onDead });
  }

  #onStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    peer: string,
    onProgress: () => void,
  ): void {
    // The reason is in 'close', which always follows.
    stream.on('error', () => {});
    // Cancelled before it got here.
    if (stream.destroyed) return;
    if (headers[':method'] !== 'POST') return answer(stream, { ':status': 405 });
    if (!headers['content-type']?.startsWith('application/grpc'))
      return answer(stream, { ':status': 415 });
    if (headers[':path'] !== proxyPath) {
      return refuse(stream, GrpcStatus.unimplemented, `unknown method ${headers[':path']}`);
    }
    if (!this.#accepting) return refuse(stream, GrpcStatus.unavailable, 'the bridge is draining');
    const { pool, limits, clock } = this.#options;
    const call = new Http2FrontStream(stream, {
      peer,
      pool,
      clock,
      lingerMs: limits.lingerMs,
      onProgress,
    });
    call.handle(this.#options.accept(call));
  }

  #refuseHttp1(socket: Socket): void {
    refuseHttp1(socket);
    if (this.#warnedOfHttp1) return;
    this.#warnedOfHttp1 = true;
    const why = 'this socket speaks gRPC: set proxyProtocol: GRPC in the egress selector';
    this.#options.log.warn('konnectivity client refused: it speaks HTTP/1', {
      listener: this.#address,
      why,
    });
  }

  #logFailure(error: Error): void {
    this.#options.log.debug('konnectivity connection failed', {
      listener: this.#address,
      error: error.message,
    });
  }
}

function createHttp2Server(options: Http2FrontOptions): Http2Server | Http2SecureServer {
  const { limits, tls } = options;
  const common = {
    settings: {
      initialWindowSize: limits.windowBytes,
      maxConcurrentStreams: limits.maxStreamsPerConnection,
    },
    // In megabytes. Beyond it new streams are refused; the default of 10 is too little for a reusable tunnel.
    maxSessionMemory: 1024,
    // A client cancels every call that it is done with; the defaults (1000, 33 per second) are made for browsers.
    // Each call that is made and reset costs about 5 KiB until the garbage is collected, so the burst is not larger than needed.
    streamResetBurst: 10_000,
    streamResetRate: 2_000,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  if (!tls) return createServer(common);
  return createSecureServer({
    ...common,
    ...secureContext(tls),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    handshakeTimeout: limits.handshakeTimeoutMs,
  });
}

function secureContext({ cert, key, clientCa, choice }: TlsMaterial) {
  return { cert, key, ...trustClientsOf(clientCa), ...choice };
}

function answer(stream: ServerHttp2Stream, headers: Record<string, string | number>): void {
  stream.respond(headers, { endStream: true });
}

/** A gRPC answer without a body: status and message come in the head. */
function refuse(stream: ServerHttp2Stream, status: GrpcStatus, message: string): void {
  answer(stream, {
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': String(status),
    'grpc-message': encodeURIComponent(message),
  });
}

function addressOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') return address ?? '';
  return address.family === 'IPv6'
    ? `[${address.address}]:${address.port}`
    : `${address.address}:${address.port}`;
}

/** The remote address, with the name in the client's certificate where there is one; a Unix socket has only its path. */
function peerOf(session: ServerHttp2Session, listener: string): string {
  const socket = session.socket as TLSSocket;
  if (socket.remoteAddress === undefined) return listener;
  const address = formatPeer(socket);
  const name = session.encrypted ? socket.getPeerCertificate().subject?.CN : undefined;
  return name === undefined ? address : `${name} (${address})`;
}
