import type { Dialer } from '../../src/dialer/dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import type { Target } from '../../src/tunnel/stream-request.ts';

/** A stream with promises in front, for tests: what arrives is taken at once and kept. */
export class DialedStream implements StreamHandler {
  readonly #stream: TunnelStream;
  readonly #opened = Promise.withResolvers<void>();
  readonly #finReceived = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<TunnelError | undefined>();
  readonly #pieces: Buffer[] = [];
  #writable = Promise.withResolvers<void>();
  #arrived = Promise.withResolvers<void>();

  private constructor(dialer: Dialer, cluster: string, target: Target) {
    this.#stream = dialer.open({ cluster, target }, this);
    // A failure reaches the code that waits for a promise. No code has to wait.
    this.#opened.promise.catch(() => {});
    this.#finReceived.promise.catch(() => {});
  }

  static open(dialer: Dialer, cluster: string, target: Target): DialedStream {
    return new DialedStream(dialer, cluster, target);
  }

  /** Resolves when the agent has connected; rejects with the reason when it will not. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** How the stream ended: undefined in order. */
  get closed(): Promise<TunnelError | undefined> {
    return this.#closed.promise;
  }

  get receivedBytes(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** Resolves when the stream would take more. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#writable = Promise.withResolvers();
    if (!this.#stream.write(bytes)) await Promise.race([this.#writable.promise, this.closed]);
  }

  fin(): void {
    this.#stream.fin();
  }

  reset(error: TunnelError): void {
    this.#stream.reset(error);
  }

  /** Resolves when this many bytes have come; rejects when the stream ends before. */
  async received(bytes: number): Promise<void> {
    while (this.receivedBytes < bytes) {
      await Promise.race([this.#arrived.promise, this.#failed()]);
    }
  }

  /** Everything that the other end sent before its FIN. */
  async readAll(): Promise<Buffer> {
    await this.#finReceived.promise;
    return Buffer.concat(this.#pieces);
  }

  onOpened(): void {
    this.#opened.resolve();
  }

  onData(bytes: Uint8Array): void {
    this.#pieces.push(Buffer.from(bytes));
    this.#stream.consumed(bytes.length);
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }

  onFin(): void {
    this.#finReceived.resolve();
  }

  onWritable(): void {
    this.#writable.resolve();
  }

  onClose(error: TunnelError | undefined): void {
    this.#opened.reject(error);
    this.#finReceived.reject(error);
    this.#closed.resolve(error);
  }

  async #failed(): Promise<never> {
    throw new Error(`the stream ended after ${this.receivedBytes} bytes`, {
      cause: await this.closed,
    });
  }
}
