/**
 * Caps the sum of receive windows, per session and, as its parent, per process: the memory that
 * peers may make us hold.
 */
export class WindowBudget {
  readonly limitBytes: number;
  readonly #parent: WindowBudget | undefined;
  #grantedBytes = 0;

  constructor(limitBytes: number, parent?: WindowBudget) {
    this.limitBytes = limitBytes;
    this.#parent = parent;
  }

  get grantedBytes(): number {
    return this.#grantedBytes;
  }

  get freeBytes(): number {
    const own = this.limitBytes - this.#grantedBytes;
    return Math.max(0, this.#parent === undefined ? own : Math.min(own, this.#parent.freeBytes));
  }

  /** Takes `bytes` in any case; ask `freeBytes` first. */
  take(bytes: number): void {
    this.#grantedBytes += bytes;
    this.#parent?.take(bytes);
  }

  giveBack(bytes: number): void {
    this.#grantedBytes -= bytes;
    this.#parent?.giveBack(bytes);
  }
}
