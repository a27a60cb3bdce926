const outputSlabBytes = 128 * 1024;
const maxFree = 64;

const free: OutputSlab[] = [];

/** Memory that a socket's output is gathered in; recycled for the whole process, so that idle links hold none. */
export class OutputSlab {
  readonly bytes = Buffer.allocUnsafeSlow(outputSlabBytes);
  #references = 0;

  /** A slab with one reference. */
  static take(): OutputSlab {
    const slab = free.pop() ?? new OutputSlab();
    slab.retain();
    return slab;
  }

  /** Nobody else holds it, so its bytes may be written anew. */
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
