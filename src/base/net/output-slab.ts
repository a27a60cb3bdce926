const outputSlabBytes = 128 * 1024;
const maxFree = 64;

const free: OutputSlab[] = [];

/** Memory for the output of a socket. The process recycles it, so that idle links hold none. */
export class OutputSlab {
  readonly bytes = Buffer.allocUnsafeSlow(outputSlabBytes);
  #references = 0;

  /** A slab with one reference. */
  static take(): OutputSlab {
    const slab = free.pop() ?? new OutputSlab();
    slab.retain();
    return slab;
  }

  /** No other part holds the slab, so that its bytes may be written again. */
  get isOnlyOnce(): boolean {
    return this.#references === 1;
  }

  retain(): void {
    this.#references++;
  }

  release(): void {
    if (--this.#references === 0 && free.length < maxFree) free.push(this);
  }
}
