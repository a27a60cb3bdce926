import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type OwnerOfBytes, SendQueue } from '../base/net/send-queue.ts';
import { type SenderOwner, SocketSender } from '../base/net/socket-sender.ts';
import type {
  AcceptConnection,
  ClientConnection,
  ClientConnectionHandler,
} from './client-connection.ts';
import type { CertificateSubject } from './certificate-subject.ts';
import type { SocketProtocol } from './socket-protocol.ts';

export interface RawConnectionOptions {
  readonly socket: Socket;
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  readonly accept: AcceptConnection;
  /** Called once, when the client has shown that it may use the listener. */
  readonly onAdmitted: () => void;
}

/** A connection of a protocol that is not HTTP/2, on its socket. */
export class RawConnection implements ClientConnection, SocketProtocol, SenderOwner {
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  readonly #socket: Socket;
  readonly #sender: SocketSender;
  readonly #queue = new SendQueue();
  readonly #onAdmitted: () => void;
  #handler: ClientConnectionHandler | undefined;
  #isAdmitted = false;
  #isEnding = false;
  #isClosed = false;
  #takenBytes = 0;

  constructor({ socket, peer, subject, accept, onAdmitted }: RawConnectionOptions) {
    this.peer = peer;
    this.subject = subject;
    this.#socket = socket;
    this.#sender = new SocketSender(socket, this);
    this.#onAdmitted = onAdmitted;
    this.#handler = accept(this);
  }

  get queuedBytes(): number {
    return this.#queue.bytes + this.#sender.output.queuedBytes;
  }

  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.#isEnding || this.#isClosed || bytes.length === 0) {
      owner?.onReleased();
      return;
    }
    this.#queue.push(bytes, owner);
    this.#sender.wake();
  }

  admitted(): void {
    if (this.#isAdmitted || this.#isClosed) return;
    this.#isAdmitted = true;
    this.#onAdmitted();
  }

  pause(): void {
    if (!this.#isClosed) this.#socket.pause();
  }

  resume(): void {
    if (!this.#isClosed) this.#socket.resume();
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#sender.planTurn();
  }

  abort(): void {
    if (this.#isClosed) return;
    // A client must not take a cut connection for a complete one. Without TLS only a reset tells
    // them apart, and with TLS the missing close_notify does.
    if (this.#socket instanceof TLSSocket || this.#socket.remoteAddress === undefined) {
      this.#socket.destroy();
    } else this.#socket.resetAndDestroy();
  }

  // The calls of the socket and the sender.

  push(bytes: Uint8Array): void {
    this.#handler?.onData(bytes);
  }

  onSocketEnd(): void {
    this.#handler?.onEnd();
  }

  onSocketClose(): void {
    this.#isClosed = true;
    this.#queue.clear();
    this.#sender.destroy();
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose();
  }

  readonly canPull = true;

  pull(): void {
    const sender = this.#sender;
    while (sender.room > 0 && this.#queue.bytes > 0) {
      this.#queue.copyTo(sender.output, Math.min(sender.room, this.#queue.bytes));
      sender.written();
    }
    if (this.#queue.bytes > 0) sender.wake();
  }

  onFlushed(): void {
    if (this.#isClosed) return;
    const { totalBytes, queuedBytes } = this.#sender.output;
    const takenBytes = totalBytes - queuedBytes;
    if (takenBytes > this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#handler?.onSent();
    }
    if (this.#isEnding && this.queuedBytes === 0) this.#socket.end();
  }

  onDrained(): void {
    // `onFlushed` follows.
  }
}
