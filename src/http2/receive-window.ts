/** How much a client may still send, for one stream or for the connection. */
export class ReceiveWindow {
  #sizeBytes: number;
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

  /**
   * The reader has taken bytes. True: half of the window is consumed, so that `takeIncrement` is
   * worth a WINDOW_UPDATE.
   */
  consume(bytes: number): boolean {
    this.#consumedBytes += bytes;
    return this.#consumedBytes * 2 >= this.#sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Bytes that the reader has taken and that were not given back. */
  get consumedBytes(): number {
    return this.#consumedBytes;
  }

  /**
   * The increment for a WINDOW_UPDATE.
   *
   * @param sizeBytes the size that the window should have. It shrinks by what is not given back, so
   *   the increment may be 0
   */
  takeIncrement(sizeBytes = this.#sizeBytes): number {
    const increment = Math.max(0, this.#consumedBytes + sizeBytes - this.#sizeBytes);
    this.#sizeBytes += increment - this.#consumedBytes;
    this.#consumedBytes = 0;
    this.#leftBytes += increment;
    return increment;
  }
}
