import type { Socket } from 'node:net';
import type { Timer } from '../base/clock.ts';
import { releaseSocket } from '../base/net/release-socket.ts';
import type { BusyWindows } from '../http2/busy-windows.ts';
import { SocketInput } from '../base/net/socket-input.ts';
import type { AcceptConnection } from './client-connection.ts';
import type { FrontOptions } from './front.ts';
import type { CertificateSubject } from './certificate-subject.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { refuseHttp1 } from './http1-refusal.ts';
import { protocolOf } from './protocol-of.ts';
import { RawConnection } from './raw-connection.ts';
import type { SocketProtocol } from './socket-protocol.ts';

export interface FrontConnectionOptions extends Pick<
  FrontOptions,
  'methods' | 'acceptHttp1' | 'acceptSocks5' | 'limits' | 'clock' | 'log'
> {
  /** After its TLS handshake, if there is TLS. */
  readonly socket: Socket;
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  /** The client has sent its first frame, or shown that it may use the listener. */
  readonly onAdmitted: () => void;
  /** The client speaks HTTP/1, and no service takes it. */
  readonly onHttp1Refused: () => void;
  readonly onClosed: () => void;
  /** Of all connections of the listener. */
  readonly busyWindows: BusyWindows;
}

const noBytes = new Uint8Array(0);

/**
 * A connection of a client. Its first bytes decide the protocol, not ALPN. Go's `http.Transport`
 * offers h2 to an HTTPS proxy and then sends CONNECT over HTTP/1.1 whatever was chosen. Old and
 * simple clients do without ALPN.
 */
export class FrontConnection {
  readonly #options: FrontConnectionOptions;
  readonly #socket: Socket;
  readonly #timer: Timer;
  #protocol: SocketProtocol | undefined;
  #grpc: GrpcConnection | undefined;
  #isShutdown = false;
  /** The first bytes, until they decide. */
  #start: Uint8Array = noBytes;

  constructor(options: FrontConnectionOptions) {
    const { socket, peer, limits, clock, log } = options;
    this.#options = options;
    this.#socket = socket;
    this.#timer = clock.setTimer(limits.handshakeTimeoutMs, () => {
      log.debug('konnectivity connection sent nothing', { peer });
      socket.destroy();
    });
    socket.on('error', (error: Error) => {
      log.debug('konnectivity connection failed', { peer, error: error.message });
    });
    socket.on('end', () => this.#onSocketEnd());
    socket.on('close', () => this.#onSocketClose());
    new SocketInput(socket, noBytes).start((bytes) => this.#push(bytes));
  }

  /** Takes no new calls. Open calls continue. Idempotent. */
  shutdown(): void {
    this.#isShutdown = true;
    this.#grpc?.shutdown();
  }

  #push(bytes: Uint8Array): void {
    if (this.#protocol === undefined) this.#decide(bytes);
    else this.#protocol.push(bytes);
  }

  #decide(bytes: Uint8Array): void {
    const start = this.#start.length === 0 ? bytes : Buffer.concat([this.#start, bytes]);
    const protocol = this.#protocolFor(start);
    // The bytes are borrowed.
    if (protocol === undefined) this.#start = Uint8Array.from(start);
    this.#protocol = protocol;
    protocol?.push(start);
  }

  /** Undefined while the first bytes do not decide, and when the socket was closed. */
  #protocolFor(start: Uint8Array): SocketProtocol | undefined {
    const { acceptHttp1, acceptSocks5, onHttp1Refused } = this.#options;
    if (this.#socket.destroyed) return undefined;
    const name = protocolOf(start);
    if (name === 'http2') return this.#newGrpc();
    if (name === 'http1') {
      if (acceptHttp1 === undefined) onHttp1Refused();
      return this.#newRaw(acceptHttp1 ?? refuseHttp1);
    }
    if (name === 'socks5' && acceptSocks5 !== undefined) return this.#newRaw(acceptSocks5);
    if (name !== undefined) this.#socket.destroy();
    return undefined;
  }

  #newGrpc(): GrpcConnection {
    const onReady = () => this.#admitted();
    const grpc = new GrpcConnection({ ...this.#options, onReady });
    if (this.#isShutdown) grpc.shutdown();
    this.#grpc = grpc;
    return grpc;
  }

  #newRaw(accept: AcceptConnection): RawConnection {
    const onAdmitted = () => this.#admitted();
    return new RawConnection({ ...this.#options, accept, onAdmitted });
  }

  #admitted(): void {
    this.#timer.cancel();
    this.#options.onAdmitted();
  }

  #onSocketEnd(): void {
    if (this.#protocol === undefined) this.#socket.destroy();
    else this.#protocol.onSocketEnd();
  }

  #onSocketClose(): void {
    this.#timer.cancel();
    this.#protocol?.onSocketClose();
    this.#options.onClosed();
    releaseSocket(this.#socket);
  }
}
