import type {
  AcceptConnection,
  ClientConnection,
  ClientConnectionHandler,
} from '../../src/konnectivity/client-connection.ts';
import type { OwnerOfBytes } from '../../src/base/net/send-queue.ts';

interface Sent {
  readonly bytes: Uint8Array;
  readonly owner: OwnerOfBytes | undefined;
}

/**
 * A client whose connection is the test. It keeps the contract of `ClientConnection`: bytes are
 * lent to the handler only until it returns, the handler is never called from inside a method, and
 * every owner of bytes is told once.
 */
export class MemoryClient implements ClientConnection {
  readonly peer = 'client-1 (192.0.2.7:50000)';
  readonly subject = undefined;
  /** What was sent, one text per `send`, for bytes that have left the process. */
  readonly received: string[] = [];
  isAdmitted = false;
  isPaused = false;
  /** The bridge has ended its direction. */
  isEnded = false;
  isAborted = false;
  /** False: sent bytes stay in the process until `takeAll`. */
  takes = true;
  queuedBytes = 0;
  readonly #queue: Sent[] = [];
  readonly #handler: ClientConnectionHandler;
  #isOver = false;

  constructor(accept: AcceptConnection) {
    this.#handler = accept(this);
  }

  /** Everything that the client has got. */
  get text(): string {
    return this.received.join('');
  }

  /** The client sends bytes. */
  write(text: string | Uint8Array): void {
    const lent = Buffer.from(text);
    this.#handler.onData(lent);
    lent.fill(0xee);
  }

  /** The client sends no more. */
  finish(): void {
    this.#handler.onEnd();
  }

  /** The connection ends in both directions. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { owner } of this.#queue.splice(0)) owner?.onAbandoned();
    this.#handler.onClose();
  }

  /** The client reads everything that was sent. */
  takeAll(): void {
    for (const { bytes, owner } of this.#queue.splice(0)) {
      this.received.push(Buffer.from(bytes).toString('latin1'));
      this.queuedBytes -= bytes.length;
      owner?.onReleased();
      this.#handler.onSent();
    }
  }

  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.#isOver || this.isEnded) {
      owner?.onReleased();
      return;
    }
    this.queuedBytes += bytes.length;
    this.#queue.push({ bytes, owner });
    setImmediate(() => {
      if (this.takes) this.takeAll();
    });
  }

  admitted(): void {
    this.isAdmitted = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.isEnded = true;
  }

  abort(): void {
    this.isAborted = true;
    setImmediate(() => this.close());
  }
}
