import { Duplex } from 'node:stream';
import { ByteQueue } from '../../base/byte-queue.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../tunnel/stream-handler.ts';

type Callback = (error?: Error | null) => void;

/**
 * A stream as a Duplex of Node, for users of the library, tests and samples. The programs' own data
 * path does not use it, because each piece is copied and passes through the queues of a Duplex.
 *
 * - `end()` is a half-close, and the FIN of the other end is `'end'`. Like a socket with
 *   `allowHalfOpen`, it stays writable after that.
 * - Window goes back to the other end when bytes leave the queue, so a slow reader stalls its
 *   sender.
 * - `destroy(error)`, and `destroy()` before `'finish'`, reset the stream. `destroy()` after it
 *   delivers what was written, and asks the other end to send no more.
 * - If the other end asks for no more bytes, what is still written is dropped.
 * - A reset or a lost session destroys the Duplex with the TunnelError.
 *
 * Writes before the stream is open wait. `'connect'` follows when it is.
 *
 * The opener passes this as the handler: `duplex.bind(dialer.open(options, duplex))`. The acceptor
 * binds the stream, accepts it and calls `onOpened`.
 */
export class StreamDuplex extends Duplex implements StreamHandler {
  readonly #opened = Promise.withResolvers<void>();
  #stream: TunnelStream | undefined;
  #isOpen = false;
  #isClosed = false;
  /** Received, and not yet in the queue of the Duplex. */
  readonly #received = new ByteQueue();
  #isReadWanted = false;
  #isFinReceived = false;
  #isFinSent = false;
  /** The write or the end that waits until the stream is open. */
  #whenOpen: (() => void) | undefined;
  /** Called when the stream takes bytes again. */
  #whenWritable: Callback | undefined;

  constructor() {
    super({ allowHalfOpen: true });
    // A user who does not wait for `opened` sees the failure as an 'error'.
    this.#opened.promise.catch(() => {});
  }

  /** Resolves when the stream is open, or rejects with the TunnelError that says why not. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Names the stream; to be called in the same turn as the constructor. */
  bind(stream: TunnelStream): void {
    this.#stream = stream;
  }

  onOpened(): void {
    this.#isOpen = true;
    this.#opened.resolve();
    this.emit('connect');
    const whenOpen = this.#whenOpen;
    this.#whenOpen = undefined;
    whenOpen?.();
  }

  onData(bytes: Uint8Array): void {
    if (this.destroyed) return;
    this.#received.append(bytes);
    this.#deliver();
  }

  onFin(): void {
    this.#isFinReceived = true;
    this.#deliver();
  }

  onWritable(): void {
    const whenWritable = this.#whenWritable;
    this.#whenWritable = undefined;
    whenWritable?.();
  }

  onStop(): void {
    this.onWritable();
  }

  onClose(error: TunnelError | undefined): void {
    this.#isClosed = true;
    if (error === undefined) return this.onWritable();
    this.#opened.reject(error);
    this.destroy(error);
  }

  override _read(): void {
    this.#isReadWanted = true;
    this.#deliver();
  }

  override _write(bytes: Uint8Array, encoding: BufferEncoding, callback: Callback): void {
    if (!this.#isOpen) {
      this.#waitUntilOpen(() => this._write(bytes, encoding, callback));
    } else if (bytes.length === 0 || this.#isClosed || this.#stream!.write(bytes)) {
      callback();
    } else {
      this.#whenWritable = callback;
    }
  }

  override _final(callback: Callback): void {
    if (!this.#isOpen) return this.#waitUntilOpen(() => this._final(callback));
    this.#isFinSent = true;
    this.#stream!.fin();
    callback();
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#received.clear();
    if (!this.#isClosed) this.#release(error);
    callback(error);
  }

  /** A function that is written at its assignment to a property is born among V8's old objects. */
  #waitUntilOpen(action: () => void): void {
    this.#whenOpen = action;
  }

  #release(error: Error | null): void {
    if (error !== null) this.#stream?.reset(TunnelError.from(error, 'reset'));
    else if (!this.#isOpen)
      this.#stream?.reset(new TunnelError('cancelled', 'the dial was aborted'));
    // A stream that was cut must not look complete to the other end.
    else if (!this.#isFinSent)
      this.#stream?.reset(new TunnelError('reset', 'the stream was closed'));
    else if (!this.#isFinReceived) this.#stream?.stopReceiving();
  }

  #deliver(): void {
    while (this.#isReadWanted) {
      const piece = this.#received.take();
      if (piece === undefined) break;
      this.#stream!.consumed(piece.length);
      this.#isReadWanted = this.push(piece);
    }
    if (this.#isFinReceived && this.#received.bytes === 0 && !this.destroyed) this.push(null);
  }
}
