import type { PacketBuffer } from './packet-buffer.ts';
import type { TlsMaterial } from './tls-files.ts';

/** The gRPC statuses with which the bridge ends a call. */
export const GrpcStatus = {
  ok: 0,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

/**
 * One call of `/ProxyService/Proxy`, as a transport gives it to the bridge: two byte streams of gRPC messages and a status.
 * After the call is over, every verb does nothing.
 */
export interface FrontStream {
  /** Who is at the other end, for logs. */
  readonly peer: string;

  /** Bytes that were given to `send` and are still in this process. */
  readonly queuedBytes: number;

  /** How many `send`s those are. */
  readonly queuedPackets: number;

  /**
   * Sends `bytes` after all that was sent before, by reference: they must stay as they are. Where they lie in `buffer`, that
   * goes back to the pool as soon as they have left the process.
   */
  send(bytes: Uint8Array, buffer?: PacketBuffer): void;

  /** No more `onData` until `resume`, except for what has been read already. The client is held back by HTTP/2's window. */
  pause(): void;
  resume(): void;

  /** Ends the call with a status after all that was sent; nothing that the client still sends is read. Idempotent. */
  end(status: GrpcStatus, message?: string): void;

  /** Ends the call at once; what was not sent yet is lost. Idempotent. */
  abort(): void;
}

/** The bridge's end of a call. None of these is called from inside a verb of the stream. */
export interface FrontHandler {
  /** Bytes from the client, in order. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;

  /** Some of what was given to `send` has left the process. */
  onSent(): void;

  /** The client will send no more: the call has ended, was cancelled, or its connection is gone. The last `onData` came before. */
  onEnd(): void;

  /** The call is over in both directions. The last call, made once, after `onEnd` or instead of it. */
  onClose(): void;
}

/** Takes a new call; returns who handles it. The stream may be used at once. */
export type AcceptCall = (stream: FrontStream) => FrontHandler;

/** A listener that takes calls. */
export interface Front {
  /** `host:port` or the path of a Unix socket. */
  readonly address: string;

  /** Handshakes from now on use this; connections that stand are left alone. For a front that was started with TLS. */
  setTls(material: TlsMaterial): void;

  /** Takes no new connections and calls; those that are open go on. Idempotent. */
  stopAccepting(): void;

  /** Ends everything at once; resolves when the listener and every connection are gone. Idempotent. */
  close(): Promise<void>;
}
