import type { CertificateSubject } from './certificate-subject.ts';
import type { Socket } from 'node:net';
import type { AcceptConnection } from './client-connection.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { ConnectionRefusal } from '../base/server/connection-limits.ts';
import type { FrontLimits } from './front-limits.ts';
import type { TlsMaterial } from './tls-files.ts';
import type { OwnerOfBytes } from '../base/net/send-queue.ts';

/** The gRPC statuses with which a call is ended. */
export const GrpcStatus = {
  ok: 0,
  /** An error of a Go server without a status of its own. */
  unknown: 2,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

/**
 * One call of a method as a transport offers it: two byte streams of gRPC messages, metadata and a
 * status. After the end of the call, every method does nothing. The contract suite is
 * test/contracts/front.contract.ts.
 */
export interface FrontStream {
  /** The client's address and name, for logs. */
  readonly peer: string;

  /** The subject of the client's certificate, if the listener asks for certificates. */
  readonly subject: CertificateSubject | undefined;

  /** The values of the request's metadata with a name in lower case, in order. */
  metadata(name: string): readonly string[];

  /**
   * Sends the head of the response, with metadata. Without this call the head is sent without
   * metadata, with the first `send` or with `end`, as servers of grpc-go do it. Idempotent.
   */
  respond(metadata?: Readonly<Record<string, string>>): void;

  /** How many bytes of all `send`s are still in this process. */
  readonly queuedBytes: number;

  /** How many `send`s these bytes belong to. */
  readonly queuedPackets: number;

  /**
   * Sends `bytes` after all earlier ones, by reference: they must not change until `owner` has been
   * told.
   */
  send(bytes: Uint8Array, owner?: OwnerOfBytes): void;

  /**
   * Calls `onAnswered` when the client's transport has read everything that has left this process so
   * far: it has answered a PING. Never called after the end of the call, and not from inside this
   * method.
   */
  roundTrip(onAnswered: () => void): void;

  /**
   * Stops `onData` until `resume`, except for bytes that have been read already. HTTP/2's window
   * holds the client back.
   */
  pause(): void;
  resume(): void;

  /**
   * Ends the call with a status after all sent bytes. What the client still sends is dropped.
   * Idempotent.
   */
  end(status: GrpcStatus, message?: string): void;

  /** Ends the call at once. Queued bytes are lost. Idempotent. */
  abort(): void;
}

/** The service's end of a call. A front never calls it from inside a method of `FrontStream`. */
export interface FrontHandler {
  /** Bytes from the client, in order. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;

  /** Some sent bytes have left the process. */
  onSent(): void;

  /**
   * The client sends no more, because it ended or cancelled the call, or its connection is gone.
   * Comes after the last `onData`.
   */
  onEnd(): void;

  /**
   * The call has ended in both directions. Comes once, as the last event, after `onEnd` or instead
   * of it.
   */
  onClose(): void;
}

/** Takes a new call and returns its handler. The stream can be used at once. */
export type AcceptCall = (stream: FrontStream) => FrontHandler;

/** The methods of a listener by their path, such as `/ProxyService/Proxy`. */
export type FrontMethods = ReadonlyMap<string, AcceptCall>;

/** Why a client with a certificate of the client CA was refused. */
export type ClientRefusal = 'agent_certificate';

/** A TCP address to listen on. Port 0 takes any free port. */
export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** A listener that takes calls. */
export interface Front {
  /** `host:port` or the path of a Unix socket. */
  readonly address: string;

  /**
   * Later handshakes use `material`, established connections stay as they are. Only for a front
   * that was started with TLS.
   */
  setTls(material: TlsMaterial): void;

  /** Takes no new connections and calls. Open calls continue. Idempotent. */
  stopAccepting(): void;

  /**
   * Ends everything at once. Resolves when the listener and all connections are closed. Idempotent.
   */
  close(): Promise<void>;
}

export interface FrontOptions {
  /** A TCP address, or the path of a Unix socket. */
  readonly listen: TcpAddress | string;
  /**
   * Without it the front speaks HTTP/2 in the clear (with prior knowledge). Without a client CA in
   * it, clients are asked for no certificate.
   */
  readonly tls?: TlsMaterial | undefined;
  readonly limits: FrontLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly methods: FrontMethods;
  /** Takes connections whose first bytes are those of an HTTP/1 request, such as CONNECT. */
  readonly acceptHttp1?: AcceptConnection;
  /**
   * Takes connections whose client has not chosen h2 with ALPN, after their TLS handshake. Nothing
   * was read from them. Only for a front with TLS.
   */
  readonly acceptSocket?: ((socket: Socket) => void) | undefined;
  /** Takes connections whose first byte is SOCKS5's. */
  readonly acceptSocks5?: AcceptConnection;
  /** Refuses a client by the subject of its certificate, before it can send a call. */
  readonly refuses: (subject: CertificateSubject) => ClientRefusal | undefined;
  /** Counts a connection that is closed although its certificate comes from the client CA. */
  readonly clientRefused: (reason: ClientRefusal) => void;
  /** Counts a connection that is closed because of the limits. */
  readonly connectionClosed: (reason: ConnectionRefusal) => void;
}

/** Starts a front. @throws KonnectivityError `listen_failed` */
export type StartFront = (options: FrontOptions) => Promise<Front>;
