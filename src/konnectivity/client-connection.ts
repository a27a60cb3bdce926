import type { CertificateSubject } from './certificate-subject.ts';
import type { OwnerOfBytes } from '../base/net/send-queue.ts';

/**
 * One connection of a client as a listener offers it to a protocol that is not HTTP/2: plain bytes
 * in both directions, behind TLS if the listener has TLS. After the end of the connection, every
 * method does nothing.
 */
export interface ClientConnection {
  /** The client's address and name, for logs. */
  readonly peer: string;

  /** The subject of the client's certificate, if the listener asks for certificates. */
  readonly subject: CertificateSubject | undefined;

  /** How many bytes of all `send`s are still in this process. */
  readonly queuedBytes: number;

  /** Sends `bytes` after all earlier ones. They must not change until `owner` has been told. */
  send(bytes: Uint8Array, owner?: OwnerOfBytes): void;

  /** The client has shown that it may use the listener: the time limit for its request ends. */
  admitted(): void;

  /** Stops `onData` until `resume`, except for bytes that have been read already. */
  pause(): void;
  resume(): void;

  /** Ends our direction after all sent bytes (FIN). The client can still send. Idempotent. */
  end(): void;

  /** Ends both directions at once. Queued bytes are lost. Idempotent. */
  abort(): void;
}

/** The protocol's end of a connection. It is never called from inside a method of the connection. */
export interface ClientConnectionHandler {
  /** Bytes from the client, in order, from the first one on. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;

  /** Some sent bytes have left the process. */
  onSent(): void;

  /** The client sends no more (FIN). Comes after the last `onData`. */
  onEnd(): void;

  /** The connection has ended in both directions. Comes once, as the last event. */
  onClose(): void;
}

/** Takes a new connection and returns its handler. */
export type AcceptConnection = (connection: ClientConnection) => ClientConnectionHandler;
