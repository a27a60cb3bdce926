/** How much a client may still send, for one stream or for the connection. */
export class ReceiveWindow {
  readonly #sizeBytes: number;
  #leftBytes: number;
  #consumedBytes = 0;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#leftBytes = sizeBytes;
  }

  /** Bytes have arrived. False: more than the client may send. */
  receive(bytes: number): boolean {
    this.#leftBytes -= bytes;
    return this.#leftBytes >= 0;
  }

  /** The reader has taken bytes. */
  consume(bytes: number): void {
    this.#consumedBytes += bytes;
  }

  /**
   * The increment for a WINDOW_UPDATE, or 0 while less than half of the window is consumed, so that
   * there are few of them.
   */
  takeIncrement(): number {
    if (this.#consumedBytes * 2 < this.#sizeBytes) return 0;
    const increment = this.#consumedBytes;
    this.#consumedBytes = 0;
    this.#leftBytes += increment;
    return increment;
  }
}
