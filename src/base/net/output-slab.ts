import { systemClock, type Timer } from '../clock.ts';

const outputSlabBytes = 128 * 1024;
const maxFree = 128;

/** The rest of a slab is worth another output if it takes a whole batch of the usual size. */
const minRestBytes = 64 * 1024;

/** How often free slabs that were not needed since the last time are given up, in milliseconds. */
export const trimEveryMs = 10_000;

const free: OutputSlab[] = [];

/** The smallest number of free slabs since the last trim. */
let leastFree = 0;
let trimTimer: Timer | undefined;
let isTrimPlanned = false;

/** A slab of which one output has used the beginning, and no output uses the rest. */
let started: OutputSlab | undefined;

/**
 * Memory for the output of sockets. The process recycles it, so that idle links hold none. One
 * output at a time writes into a slab. Outputs with small batches use a slab one after the other,
 * so that a thousand busy sockets need the memory of their bytes and not a slab each. A burst needs
 * many slabs for a short time, so slabs that stay free are given up.
 */
export class OutputSlab {
  readonly bytes = Buffer.allocUnsafeSlow(outputSlabBytes);
  /** Bytes before this position may be in use. */
  usedBytes = 0;
  #references = 0;

  /**
   * A slab with a reference for the caller, who writes from `usedBytes` on, where at least `bytes`
   * fit.
   */
  static take(bytes: number): OutputSlab {
    const slab = started;
    if (slab !== undefined && (bytes <= minRestBytes || slab.isOnlyOnce)) {
      started = undefined;
      if (slab.isOnlyOnce) slab.usedBytes = 0;
      return slab;
    }
    const fresh = free.pop() ?? new OutputSlab();
    if (free.length < leastFree) leastFree = free.length;
    fresh.usedBytes = 0;
    fresh.retain();
    return fresh;
  }

  /** Gives up the reference of `take`, and the bytes behind `usedBytes` to another output. */
  static leave(slab: OutputSlab, usedBytes: number): void {
    slab.usedBytes = usedBytes;
    const isRestLarge = usedBytes <= outputSlabBytes - minRestBytes;
    if (started === undefined && isRestLarge && !slab.isOnlyOnce) started = slab;
    else slab.release();
  }

  /** No other part holds the slab, so that its bytes may be written again. */
  get isOnlyOnce(): boolean {
    return this.#references === 1;
  }

  retain(): void {
    this.#references++;
  }

  release(): void {
    if (--this.#references > 0 || free.length >= maxFree) return;
    free.push(this);
    if (!isTrimPlanned) planTrim();
  }
}

function planTrim(): void {
  isTrimPlanned = true;
  if (trimTimer === undefined) trimTimer = systemClock.setTimer(trimEveryMs, trim);
  else trimTimer.restart();
}

function trim(): void {
  isTrimPlanned = false;
  // The last ones stay, because their memory is the likeliest to be in the cache.
  free.splice(0, leastFree);
  leastFree = free.length;
  if (leastFree > 0) planTrim();
}
