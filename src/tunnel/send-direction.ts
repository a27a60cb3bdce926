import { TunnelError } from './errors.ts';
import { SendBuffer } from './send-buffer.ts';
import type { Block, SlabPool } from './slab.ts';
import type { StreamShare } from './stream-request.ts';

/**
 * A writer stops when this much waits unsent, in bytes, and continues at half of it. That is enough
 * for one turn of the event loop, and little enough to stay fair to other streams.
 */
const unsentHighBytes = 256 * 1024;

/**
 * The direction of a stream that this end sends: bytes that were written, the credit for them, and
 * the FIN behind them. It changes its own state only; the stream schedules what follows from it.
 */
export class SendDirection {
  /** In whose turns the bytes are sent; undefined: in those of all streams without a share. */
  share: StreamShare | undefined;
  readonly #buffer: SendBuffer;
  /** Nothing is sent before OPENED. */
  #isOpen = false;
  /** The offset up to which the other end lets this end send. */
  #limit = 0;
  #isFinRequested = false;
  #hasSentFin = false;
  #isFinAcknowledged = false;
  /** The other end wants no more bytes. */
  #isStopped = false;
  #isWriterWaiting = false;
  #isQueued = false;

  constructor(pool: SlabPool) {
    this.#buffer = new SendBuffer(pool);
  }

  /** Offset behind the last byte that was sent on the present link. */
  get sent(): number {
    return this.#buffer.sent;
  }

  /** Offset behind the last byte that was written. */
  get written(): number {
    return this.#buffer.written;
  }

  get unsentBytes(): number {
    return this.#buffer.unsentBytes;
  }

  get limit(): number {
    return this.#limit;
  }

  /**
   * Bytes that the other end has granted and not acknowledged. This end must keep them once they
   * are written.
   */
  get grantedBytes(): number {
    return Math.max(0, this.#limit - this.#buffer.received);
  }

  /** Bytes wait, and may be sent now. */
  get hasData(): boolean {
    return this.#isOpen && this.#buffer.unsentBytes > 0 && this.#limit > this.#buffer.sent;
  }

  /** Everything was sent, so that the FIN which was requested can follow. */
  get isFinDue(): boolean {
    return (
      this.#isOpen && this.#isFinRequested && !this.#hasSentFin && this.#buffer.unsentBytes === 0
    );
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get hasSentFin(): boolean {
    return this.#hasSentFin;
  }

  get isFinAcknowledged(): boolean {
    return this.#isFinAcknowledged;
  }

  get isFinRequested(): boolean {
    return this.#isFinRequested;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Copies `bytes`. */
  append(bytes: Uint8Array): void {
    this.#buffer.append(bytes);
  }

  /**
   * Whether the writer may write more. If not, `takeWaitingWriter` becomes true once there is room.
   */
  hasRoom(): boolean {
    if (this.#buffer.unsentBytes < unsentHighBytes && this.#buffer.written < this.#limit) {
      return true;
    }
    this.#isWriterWaiting = true;
    return false;
  }

  /** True, once, when a waiting writer may continue. */
  takeWaitingWriter(): boolean {
    if (!this.#isWriterWaiting || this.#isFinRequested) return false;
    const { unsentBytes, written } = this.#buffer;
    if (unsentBytes > unsentHighBytes / 2 || written >= this.#limit) return false;
    this.#isWriterWaiting = false;
    return true;
  }

  /**
   * The stream enters the session's queue of streams with data. False: it is in the queue already.
   */
  enqueue(): boolean {
    if (this.#isQueued) return false;
    this.#isQueued = true;
    return true;
  }

  dequeued(): void {
    this.#isQueued = false;
  }

  requestFin(): void {
    this.#isFinRequested = true;
  }

  /** The window of the other end is known before the stream is open, if OPEN has it. */
  setLimit(limit: number): void {
    this.#limit = limit;
  }

  open(): void {
    this.#isOpen = true;
  }

  /** Returns the next DATA frame within the credit, without its header. */
  next(): Block | undefined {
    return this.#isOpen ? this.#buffer.next(this.#limit - this.#buffer.sent) : undefined;
  }

  finSent(): void {
    this.#hasSentFin = true;
  }

  /**
   * The other end has `received` bytes, a FIN counting as one, and lets this end send up to
   * `limit`.
   *
   * @param maxKeptBytes bounds what this end keeps for a peer that grants without acknowledging
   * @throws TunnelError `protocol_error` for bytes that were never sent
   */
  acknowledge(received: number, limit: number, maxKeptBytes: number): void {
    const { sent } = this.#buffer;
    if (received > sent + (this.#hasSentFin ? 1 : 0)) {
      const sentence = `has received ${received} bytes of the ${sent} that were sent`;
      throw new TunnelError('protocol_error', sentence);
    }
    this.#limit = Math.max(this.#limit, Math.min(limit, received + maxKeptBytes));
    this.#buffer.acknowledge(received);
    if (this.#hasSentFin && received > this.#buffer.written) this.#isFinAcknowledged = true;
  }

  /**
   * @throws TunnelError `protocol_error` for bytes that were never sent, or that the other end
   * acknowledged before
   */
  checkReceived(received: number): void {
    const { sent, received: acknowledged } = this.#buffer;
    const hasFin = this.#hasFin(received);
    const bytes = hasFin ? this.#buffer.written : received;
    if (bytes <= sent && bytes >= acknowledged && (hasFin || !this.#isFinAcknowledged)) return;
    const sentence = `says that it has ${received} bytes, but ${sent} were sent and ${acknowledged} acknowledged`;
    throw new TunnelError('protocol_error', sentence);
  }

  /** On a new link, everything behind `received` is sent again. Returns how many bytes that is. */
  rewind(received: number, limit: number, maxKeptBytes: number): number {
    const hasFin = this.#hasFin(received);
    const bytes = hasFin ? this.#buffer.written : received;
    const againBytes = this.#buffer.rewind(bytes);
    this.#hasSentFin = this.#isFinAcknowledged = hasFin;
    this.#limit = Math.max(this.#limit, Math.min(limit, bytes + maxKeptBytes));
    return againBytes;
  }

  /**
   * The other end wants no more: drops what was not sent, and ends the direction behind what was.
   */
  stop(): void {
    this.#isStopped = true;
    this.#isWriterWaiting = false;
    this.#buffer.stop();
    this.#isFinRequested = true;
  }

  /** The stream has ended: frees all memory. Idempotent. */
  clear(): void {
    this.#buffer.clear();
  }

  #hasFin(received: number): boolean {
    return this.#hasSentFin && received === this.#buffer.written + 1;
  }
}
