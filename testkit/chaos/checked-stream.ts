import type { Dialer } from '../../src/dialer/dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { patternAt } from '../stream/pattern.ts';
import { Pace } from './paced-target.ts';

const chunkBytes = 16 * 1024;

/** A stream of the dialer in this process. It compares every received byte with the pattern. */
export class CheckedStream implements StreamHandler {
  /** Resolves when the agent has connected; rejects with the reason why not. */
  readonly opened: Promise<void>;
  /** Resolves after an orderly end. Rejects with the error of the end, or the first wrong byte. */
  readonly closed: Promise<void>;
  receivedBytes = 0;
  /** The longest time between two pieces, in milliseconds, and when it ended. */
  longestPauseMs = 0;
  readonly #stream: TunnelStream;
  readonly #opened = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #finished = Promise.withResolvers<void>();
  #writable = Promise.withResolvers<void>();
  #isOpen = false;
  #over = false;
  #lastMs = 0;

  constructor(dialer: Dialer, cluster: string, port: number) {
    this.opened = this.#opened.promise;
    this.closed = this.#closed.promise;
    // A failure reaches the code that waits for one of the promises.
    for (const promise of [this.opened, this.closed, this.#finished.promise])
      promise.catch(() => {});
    this.#stream = dialer.open({ cluster, target: { kind: 'tcp', host: cluster, port } }, this);
  }

  /** Resolves when the other end has sent its last byte. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Sends `bytes` of the pattern, from `offset` on, at a bounded rate; `fin` is the caller's. */
  async send(bytes: number, bytesPerSecond: number, offset = 0): Promise<void> {
    const pace = new Pace(bytesPerSecond);
    const end = offset + bytes;
    for (let at = offset; at < end && !this.#over;) {
      const piece = patternAt(at, Math.min(chunkBytes, end - at));
      at += piece.length;
      this.#writable = Promise.withResolvers();
      if (!this.#stream.write(piece)) await this.#writable.promise;
      const waitMs = pace.took(piece.length);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  fin(): void {
    if (!this.#over) this.#stream.fin();
  }

  reset(error: TunnelError): void {
    this.#stream.reset(error);
  }

  onOpened(): void {
    this.#isOpen = true;
    this.#opened.resolve();
  }

  onData(bytes: Uint8Array): void {
    const nowMs = performance.now();
    if (this.#lastMs > 0) this.longestPauseMs = Math.max(this.longestPauseMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    for (let at = 0; at < bytes.length;) {
      const want = patternAt(this.receivedBytes, bytes.length - at);
      if (want.compare(bytes, at, at + want.length) !== 0) {
        this.#closed.reject(
          new WrongBytesError(
            `wrong bytes between ${this.receivedBytes} and ${this.receivedBytes + want.length}`,
          ),
        );
      }
      at += want.length;
      this.receivedBytes += want.length;
    }
    this.#stream.consumed(bytes.length);
  }

  onFin(): void {
    this.#finished.resolve();
  }

  onWritable(): void {
    this.#writable.resolve();
  }

  onClose(error: TunnelError | undefined): void {
    this.#over = true;
    this.#writable.resolve();
    if (error === undefined) {
      this.#closed.resolve();
      return;
    }
    if (!this.#isOpen) this.#opened.reject(error);
    this.#finished.reject(error);
    this.#closed.reject(error);
  }
}

/** The received bytes are not the sent bytes. */
export class WrongBytesError extends Error {
  override readonly name = 'WrongBytesError';
}
