/** A protocol on the socket of a client. The calls come in order. */
export interface SocketProtocol {
  /** Bytes from the client. Borrowed: valid until this returns. */
  push(bytes: Uint8Array): void;
  /** The client has ended its half (FIN). */
  onSocketEnd(): void;
  /** The socket is closed. The last call. */
  onSocketClose(): void;
}
