import { ByteQueue } from '../base/byte-queue.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';

/**
 * `WritableStreamDefaultController.signal` of the Streams Standard, which the types of Node lack.
 */
interface WithSignal {
  readonly signal: AbortSignal;
}

export interface WebStreamPair {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * A stream as a pair of web streams, for any runtime. It costs some promises per piece, so the
 * programs' own data path does not use it.
 *
 * - Closing `writable` is a half-close, and the FIN of the other end closes `readable`.
 * - Window goes back to the other end when a reader takes a piece, so a slow reader stalls its
 *   sender. `writable` waits while the other end's window is used up.
 * - Aborting `writable` resets the stream, with the reason's message for the other end. Canceling
 *   `readable` asks the other end to send no more, and `writable` stays open. If the other end asks
 *   for that, `writable` fails with `reset`, and `readable` stays open.
 * - A reset or a lost session errors both with the TunnelError.
 *
 * The opener passes this as the handler: `streams.bind(dialer.open(options, streams))`. The
 * acceptor binds the stream, accepts it and calls `onOpened`.
 */
export class WebStreams implements StreamHandler, WebStreamPair {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #opened = Promise.withResolvers<void>();
  #reading!: ReadableStreamDefaultController<Uint8Array>;
  #writing!: WritableStreamDefaultController;
  #stream: TunnelStream | undefined;
  /** Received, and not taken by a reader. */
  readonly #received = new ByteQueue();
  /** A reader waits for a piece. */
  #isPieceWanted = false;
  #isFinReceived = false;
  /** The reader gets nothing more: the end has been passed on, or the reader has canceled. */
  #isReadingOver = false;
  /** Pending while the stream takes no more bytes. */
  #hasRoom: PromiseWithResolvers<void> | undefined;

  constructor() {
    // A user who does not wait for `opened` sees the failure in both streams.
    this.#opened.promise.catch(() => {});
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#reading = controller;
        },
        pull: () => {
          this.#isPieceWanted = true;
          this.#deliver();
        },
        cancel: () => {
          this.#isReadingOver = true;
          this.#received.clear();
          this.#stream?.stopReceiving();
        },
      },
      { highWaterMark: 0 },
    );
    this.writable = new WritableStream<Uint8Array>({
      // Writes wait until the stream is open.
      start: (controller) => {
        this.#writing = controller;
        const { signal } = controller as unknown as WithSignal;
        // The `abort` callback would come after the dial, and after a write that waits for window.
        signal.addEventListener('abort', () => this.#onAbort(signal.reason));
        return this.opened;
      },
      write: (bytes) => this.#write(bytes),
      close: () => this.#stream?.fin(),
    });
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
    this.#opened.resolve();
  }

  onData(bytes: Uint8Array): void {
    if (this.#isReadingOver) return;
    this.#received.append(bytes);
    this.#deliver();
  }

  onFin(): void {
    this.#isFinReceived = true;
    this.#deliver();
  }

  onWritable(): void {
    this.#hasRoom?.resolve();
  }

  onStop(): void {
    this.#failWriting(new TunnelError('reset', 'the other end wants no more bytes'));
  }

  onClose(error: TunnelError | undefined): void {
    if (error === undefined) return;
    this.#opened.reject(error);
    this.#isReadingOver = true;
    this.#received.clear();
    this.#reading.error(error);
    this.#failWriting(error);
  }

  #deliver(): void {
    if (this.#isReadingOver) return;
    const piece = this.#isPieceWanted ? this.#received.take() : undefined;
    if (piece !== undefined) {
      this.#isPieceWanted = false;
      this.#stream?.consumed(piece.length);
      this.#reading.enqueue(piece);
    }
    if (!this.#isFinReceived || this.#received.bytes > 0 || this.#isReadingOver) return;
    this.#isReadingOver = true;
    this.#reading.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0 || this.#stream!.write(bytes)) return;
    this.#hasRoom = Promise.withResolvers();
    await this.#hasRoom.promise;
  }

  #onAbort(reason: unknown): void {
    const error = reason ?? new TunnelError('reset', 'the stream was aborted');
    this.#stream?.reset(TunnelError.from(error, 'reset'));
  }

  #failWriting(error: TunnelError): void {
    this.#writing.error(error);
    this.#hasRoom?.reject(error);
  }
}
