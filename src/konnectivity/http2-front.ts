import { once } from 'node:events';
import type {
  Http2SecureServer,
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ConnectionGuard } from '../base/server/connection-guard.ts';
import { asError } from '../base/error.ts';
import { formatPeer } from '../base/net/format-peer.ts';
import { listenAt } from '../base/server/listen.ts';
import { KonnectivityError } from './konnectivity-error.ts';
import { ClientWatch } from './client-watch.ts';
import { type CertificateSubject, type Front, type FrontOptions, GrpcStatus } from './front.ts';
import { Http2FrontStream, type Http2FrontStreamOptions } from './http2-front-stream.ts';
import { refuseHttp1 } from './http1-refusal.ts';
import { answer, createHttp2Server, refuse, secureContext } from './http2-server.ts';
import type { TlsMaterial } from './tls-files.ts';
import { removeStaleSocket, withSocketMode } from './unix-socket.ts';

/**
 * Listens for gRPC on node:http2, at a third of the cost per byte of @grpc/grpc-js
 * (docs/benchmarks.md).
 *
 * @throws KonnectivityError `listen_failed`
 */
export async function startHttp2Front(options: FrontOptions): Promise<Front> {
  const front = new Http2Front(options);
  await front.listen();
  return front;
}

class Http2Front implements Front {
  readonly #options: FrontOptions;
  readonly #server: Http2Server | Http2SecureServer;
  /**
   * All TCP or Unix connections, also before their handshakes and after the end of their sessions.
   */
  readonly #sockets = new Set<Socket>();
  /**
   * The connection whose session is being made. node:http2 does not let a session's user destroy
   * it.
   */
  #newSocket: Socket | undefined;
  #accepting = true;
  #warnedOfHttp1 = false;
  #address = '';
  readonly #closed = Promise.withResolvers<void>();
  /** Undefined for a Unix socket, whose clients have no address and are the owner's own. */
  readonly #guard: ConnectionGuard | undefined;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#server = createHttp2Server(options.limits, options.tls);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    // Before the server's own listener, which makes the session and emits 'session' at once.
    const readyEvent = options.tls ? 'secureConnection' : 'connection';
    this.#server.prependListener(readyEvent, (socket: Socket) => (this.#newSocket = socket));
    this.#guard = this.#guardOf(options);
    this.#server.on('session', (session) => this.#onSession(session));
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#refuseBySubject(socket));
    this.#server.once('close', () => this.#closed.resolve());
    // The session of each failure knows it already, or there was never a session.
    this.#server.on('sessionError', (error: Error) => this.#logFailure(error));
    this.#server.on('tlsClientError', (error: Error) => this.#logFailure(error));
    // Without this listener, a client that did not negotiate h2 gets another answer and ten seconds
    // to read it.
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
      if (error instanceof KonnectivityError) throw error;
      throw new KonnectivityError(
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
    // Sends GOAWAY(NO_ERROR) with the last accepted stream. Accepted streams continue, new ones go
    // elsewhere.
    this.#server.close();
  }

  async close(): Promise<void> {
    this.stopAccepting();
    this.#guard?.[Symbol.dispose]();
    // Not the sessions, because a session that has sent GOAWAY waits until its client hangs up.
    for (const socket of this.#sockets) socket.destroy();
    await this.#closed.promise;
  }

  #guardOf({ listen, limits, log, connectionClosed }: FrontOptions) {
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
        // The handshake and the first frame have this long each. Their own timers are earlier.
        requestTimeoutMs: 3 * limits.handshakeTimeoutMs,
        answerTimeoutMs: Infinity,
      },
      listener: 'konnectivity clients',
      log,
      onClosed: connectionClosed,
    });
  }

  /**
   * Closes a connection whose certificate the service refuses. The session exists but has sent
   * nothing yet, so the client sees the same as with a certificate of another CA.
   */
  #refuseBySubject(socket: TLSSocket): void {
    // For example because it did not negotiate h2.
    if (socket.destroyed) return;
    const subject = subjectOf(socket)!;
    const reason = this.#options.refuses(subject);
    if (reason === undefined) return;
    this.#options.clientRefused(reason);
    this.#options.log.warn('konnectivity client refused because of its certificate', {
      peer: formatPeer(socket),
      reason,
      subject: [...subject.commonNames, ...subject.organizations],
    });
    socket.destroy();
  }

  #onSession(session: ServerHttp2Session): void {
    const { limits, clock } = this.#options;
    const peer = peerOf(session, this.#address);
    const subject = subjectOf(session.socket as TLSSocket);
    const timer = clock.setTimer(limits.handshakeTimeoutMs, () => {
      this.#options.log.debug('konnectivity connection sent nothing', { peer });
      session.destroy();
    });
    session.once('remoteSettings', () => {
      timer.cancel();
      this.#guard?.authenticated(session.socket);
    });
    session.once('close', () => timer.cancel());
    // The server's 'sessionError' reports it. Without a listener here it would be thrown.
    session.on('error', () => {});
    const watch = this.#watch(session, this.#newSocket!, peer);
    session.on('stream', (stream, headers) => {
      watch.callBegan();
      stream.once('close', () => watch.callEnded());
      this.#onStream(stream, headers, { peer, subject, onProgress: () => watch.progressed() });
    });
    session.setLocalWindowSize(4 * limits.windowBytes);
  }

  #watch(session: ServerHttp2Session, socket: Socket, peer: string): ClientWatch {
    const { limits, clock, log } = this.#options;
    const onDead = (silentMs: number): void => {
      log.warn('konnectivity client does not answer, its connection is closed', {
        peer,
        silentMs: Math.round(silentMs),
      });
      // Not the session, because that waits until its last write is done.
      socket.destroy();
    };
    return new ClientWatch({ session, socket, limits, clock, onDead });
  }

  #onStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    connection: Pick<Http2FrontStreamOptions, 'peer' | 'subject' | 'onProgress'>,
  ): void {
    // 'close' always follows and handles it.
    stream.on('error', () => {});
    // The client cancelled it already.
    if (stream.destroyed) return;
    if (headers[':method'] !== 'POST') return answer(stream, { ':status': 405 });
    if (!headers['content-type']?.startsWith('application/grpc'))
      return answer(stream, { ':status': 415 });
    const accept = this.#options.methods.get(headers[':path'] ?? '');
    if (accept === undefined) {
      return refuse(stream, GrpcStatus.unimplemented, `unknown method ${headers[':path']}`);
    }
    if (!this.#accepting) return refuse(stream, GrpcStatus.unavailable, 'the listener is draining');
    const { limits, clock } = this.#options;
    const call = new Http2FrontStream(stream, {
      ...connection,
      headers,
      clock,
      lingerMs: limits.lingerMs,
    });
    call.handle(accept(call));
  }

  #refuseHttp1(socket: Socket): void {
    refuseHttp1(socket);
    if (this.#warnedOfHttp1) return;
    this.#warnedOfHttp1 = true;
    this.#options.log.warn('konnectivity client refused: it speaks HTTP/1', {
      listener: this.#address,
      reason: 'this socket speaks gRPC, set proxyProtocol: GRPC in the egress selector',
    });
  }

  #logFailure(error: Error): void {
    this.#options.log.debug('konnectivity connection failed', {
      listener: this.#address,
      error: error.message,
    });
  }
}

function addressOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') return address ?? '';
  return address.family === 'IPv6'
    ? `[${address.address}]:${address.port}`
    : `${address.address}:${address.port}`;
}

/**
 * The remote address, with the name in the client's certificate if it has one. For a Unix socket,
 * the listener's path.
 */
function peerOf(session: ServerHttp2Session, listener: string): string {
  const socket = session.socket as TLSSocket;
  if (socket.remoteAddress === undefined) return listener;
  const address = formatPeer(socket);
  const name = subjectOf(socket)?.commonNames[0];
  return name === undefined ? address : `${name} (${address})`;
}

function subjectOf(socket: TLSSocket): CertificateSubject | undefined {
  if (!socket.encrypted) return undefined;
  const { subject } = socket.getPeerCertificate();
  // A part of the name that occurs several times is an array.
  const named = (values: string | string[] | undefined) =>
    values === undefined ? [] : [values].flat();
  return { commonNames: named(subject?.CN), organizations: named(subject?.O) };
}
