import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, Server as TlsServer, TLSSocket } from 'node:tls';
import { asError } from '../base/error.ts';
import { formatPeer } from '../base/net/format-peer.ts';
import { ConnectionGuard } from '../base/server/connection-guard.ts';
import { listenAt } from '../base/server/listen.ts';
import { trustClientsOf } from '../base/tls/tls-trust.ts';
import { BusyWindows } from '../http2/busy-windows.ts';
import { FrontConnection } from './front-connection.ts';
import type { Front, FrontOptions } from './front.ts';
import type { CertificateSubject } from './certificate-subject.ts';
import { CertificateSubjects } from './certificate-subjects.ts';
import { KonnectivityError } from './konnectivity-error.ts';
import type { TlsMaterial } from './tls-files.ts';
import { removeStaleSocket, withSocketMode } from './unix-socket.ts';

/**
 * Listens for clients of konnectivity. The first bytes of a connection decide its protocol.
 *
 * @throws KonnectivityError `listen_failed`
 */
export async function startFront(options: FrontOptions): Promise<Front> {
  const listener = new FrontListener(options);
  await listener.listen();
  return listener;
}

class FrontListener implements Front {
  readonly #options: FrontOptions;
  readonly #server: Server;
  /** All TCP or Unix connections, also before their TLS handshake. */
  readonly #sockets = new Set<Socket>();
  /** The connections that may send. */
  readonly #connections = new Set<FrontConnection>();
  readonly #subjects = new CertificateSubjects();
  readonly #busyWindows: BusyWindows;
  #isAccepting = true;
  #hasWarnedOfHttp1 = false;
  #address = '';
  readonly #closed = Promise.withResolvers<void>();
  /** Undefined for a Unix socket, whose clients have no address and are the owner's own. */
  readonly #guard: ConnectionGuard | undefined;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#busyWindows = new BusyWindows(options.limits);
    this.#server = serverOf(options);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#guard = this.#guardOf(options);
    const readyEvent = options.tls === undefined ? 'connection' : 'secureConnection';
    this.#server.on(readyEvent, (socket: Socket) => this.#accept(socket));
    this.#server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#logFailure(error);
      // Node does not close the connection when the handshake takes too long.
      socket.destroy();
    });
    this.#server.once('close', () => this.#closed.resolve());
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
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(secureContext(material));
  }

  stopAccepting(): void {
    if (!this.#isAccepting) return;
    this.#isAccepting = false;
    this.#server.close();
    for (const connection of this.#connections) connection.shutdown();
  }

  async close(): Promise<void> {
    this.stopAccepting();
    this.#guard?.[Symbol.dispose]();
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

  #accept(socket: Socket): void {
    const subject = socket instanceof TLSSocket ? this.#subjects.of(socket) : undefined;
    if (socket.destroyed || this.#isRefused(socket, subject)) return;
    const { acceptSocket } = this.#options;
    if (acceptSocket !== undefined && socket instanceof TLSSocket && socket.alpnProtocol !== 'h2') {
      // The other service has limits of its own.
      this.#guard?.authenticated(socket);
      acceptSocket(socket);
      return;
    }
    const connection = new FrontConnection({
      ...this.#options,
      socket,
      subject,
      peer: peerOf(socket, subject, this.#address),
      busyWindows: this.#busyWindows,
      onAdmitted: () => this.#guard?.authenticated(socket),
      onHttp1Refused: () => this.#warnOfHttp1(),
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
    if (!this.#isAccepting) connection.shutdown();
  }

  /**
   * Closes a connection whose certificate the service refuses. Nothing was sent yet, so the client
   * sees the same as with a certificate of another CA.
   */
  #isRefused(socket: Socket, subject: CertificateSubject | undefined): boolean {
    const reason = subject === undefined ? undefined : this.#options.refuses(subject);
    if (subject === undefined || reason === undefined) return false;
    this.#options.clientRefused(reason);
    this.#options.log.warn('konnectivity client refused because of its certificate', {
      peer: formatPeer(socket),
      reason,
      subject: [...subject.commonNames, ...subject.organizations],
    });
    socket.destroy();
    return true;
  }

  #warnOfHttp1(): void {
    if (this.#hasWarnedOfHttp1) return;
    this.#hasWarnedOfHttp1 = true;
    this.#options.log.warn('konnectivity client refused: it speaks HTTP/1', {
      listener: this.#address,
      reason: 'this port takes gRPC over HTTP/2 only',
    });
  }

  #logFailure(error: Error): void {
    this.#options.log.debug('konnectivity connection failed', {
      listener: this.#address,
      error: error.message,
    });
  }
}

function serverOf({ tls, limits }: FrontOptions): Server {
  const common = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  if (tls === undefined) return createServer(common);
  return createTlsServer({
    ...common,
    ...secureContext(tls),
    requestCert: tls.clientCa !== undefined,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: limits.handshakeTimeoutMs,
  });
}

/** The part of the server's options that changes with its files. */
function secureContext({ cert, key, clientCa, choice }: TlsMaterial) {
  return { cert, key, ...(clientCa !== undefined && trustClientsOf(clientCa)), ...choice };
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
function peerOf(socket: Socket, subject: CertificateSubject | undefined, listener: string): string {
  if (socket.remoteAddress === undefined) return listener;
  const address = formatPeer(socket);
  const name = subject?.commonNames[0];
  return name === undefined ? address : `${name} (${address})`;
}
