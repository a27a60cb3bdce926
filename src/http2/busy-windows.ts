export interface BusyWindowLimits {
  /** The usual window of a stream, in bytes. */
  readonly windowBytes: number;
  /** The window of a busy stream, in bytes. */
  readonly busyWindowBytes: number;
  /** Streams that may have the larger window at a time, busy or not. */
  readonly maxBusyWindows: number;
}

/** A stream as `BusyWindows` knows it, which alone changes the fields. */
export interface WindowHolder {
  /** How many of the remembered shares are its own. */
  shares: number;
  /** Its window is larger than usual. */
  hasBusyWindow: boolean;
}

/** The last input of a listener is remembered in shares of half a window. */
const rememberedShares = 16;

/** A stream with so many of them is busy, so at most four streams are. */
const busyShares = rememberedShares / 4;

/**
 * Gives the busiest streams of a listener a larger receive window. A client that has used up its
 * window sleeps until it gets more, and for one bulk stream these sleeps cost a third of its speed.
 * Many large windows cost more than they save, because their bytes leave the processor's caches.
 */
export class BusyWindows {
  readonly #limits: BusyWindowLimits;
  readonly #recent: (WindowHolder | undefined)[] = Array.from({ length: rememberedShares });
  #oldest = 0;
  #count = 0;

  constructor(limits: BusyWindowLimits) {
    this.#limits = limits;
  }

  /**
   * How large the window of `holder` should be. A window shrinks only by what its client sends, so
   * that of a stream that has fallen silent stays large, and counts until the stream ends.
   *
   * @param sizeBytes how large it is
   * @param takenBytes what the reader has taken of it
   */
  windowBytesFor(holder: WindowHolder, sizeBytes: number, takenBytes: number): number {
    const { windowBytes, busyWindowBytes, maxBusyWindows } = this.#limits;
    // As it was before these bytes, which of a large window are many shares at once.
    const isBusy = holder.shares >= busyShares;
    const shares = Math.min(Math.round(takenBytes / (windowBytes / 2)), rememberedShares);
    for (let share = 0; share < shares; share++) this.#remember(holder);
    if (!isBusy) {
      if (sizeBytes - takenBytes <= windowBytes) this.release(holder);
      return windowBytes;
    }
    if (!holder.hasBusyWindow && this.#count < maxBusyWindows) {
      holder.hasBusyWindow = true;
      this.#count++;
    }
    return holder.hasBusyWindow ? busyWindowBytes : windowBytes;
  }

  /** The window is not larger than usual any more, or its stream has ended. Idempotent. */
  release(holder: WindowHolder): void {
    if (holder.hasBusyWindow) this.#count--;
    holder.hasBusyWindow = false;
  }

  #remember(holder: WindowHolder): void {
    const forgotten = this.#recent[this.#oldest];
    if (forgotten !== undefined) forgotten.shares--;
    this.#recent[this.#oldest] = holder;
    holder.shares++;
    this.#oldest = (this.#oldest + 1) % rememberedShares;
  }
}
