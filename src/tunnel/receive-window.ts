import type { WindowBudget } from './window-budget.ts';

/**
 * Once an eighth of the budget is used, a stream starts with so much less. Then the budget of a
 * session is enough for a thousand streams, and each can still send a frame while another is on its
 * way.
 */
const crowdedStartBytes = 64 * 1024;

/** A CREDIT for a small window is worth at least so much, so that its stream sends few frames. */
const minCreditBytes = 32 * 1024;

export interface ReceiveWindowOptions {
  readonly initialBytes: number;
  readonly minBytes: number;
  /** The largest window, asked each time that the window would grow. */
  readonly maxBytes: () => number;
  readonly budget: WindowBudget;
}

/**
 * The credit of the other end on one stream. Credit is returned when the reader *takes* bytes, not
 * when they arrive: otherwise a stalled reader fills our memory instead of stalling its sender
 * (docs/protocol.md, "Flow control").
 *
 * The window doubles when half of it was taken within two round trips, because then the window
 * limits the sender, not the reader.
 */
export class ReceiveWindow {
  readonly #options: ReceiveWindowOptions;
  #windowBytes: number;
  #received = 0;
  #taken = 0;
  #limit: number;
  #hasFin = false;
  /** `received` and `limit` as the last CREDIT told the other end. */
  #advertisedReceived = 0;
  #advertisedLimit: number;
  #measuredFrom = 0;
  #measuredSinceMs = 0;
  #stopped = false;

  constructor(options: ReceiveWindowOptions) {
    this.#options = options;
    this.#windowBytes = startBytes(options);
    options.budget.take(this.#windowBytes);
    this.#limit = this.#advertisedLimit = this.#windowBytes;
  }

  get received(): number {
    return this.#received;
  }

  /** The other end has sent its FIN. */
  get hasFin(): boolean {
    return this.#hasFin;
  }

  /**
   * The offset that CREDIT and SYNC report. A FIN counts as one more byte, so that its sender
   * learns that it arrived.
   */
  get receivedOffset(): number {
    return this.#received + (this.#hasFin ? 1 : 0);
  }

  /**
   * The offset up to which the other end may send, as CREDIT and SYNC report it: 0 after `stop`.
   */
  get limit(): number {
    return this.#stopped ? 0 : this.#limit;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** Bytes that arrived and have not been taken. */
  get unreadBytes(): number {
    return this.#received - this.#taken;
  }

  /** How much more the other end may send. */
  get roomBytes(): number {
    return this.#limit - this.#received;
  }

  /** Bytes arrived. True: acknowledge them now, because the other end keeps a copy until then. */
  arrived(bytes: number): boolean {
    this.#received += bytes;
    // The sender keeps no copy after a stop, so the next delayed acknowledgement is soon enough.
    return !this.#stopped && this.#received - this.#advertisedReceived >= this.#windowBytes / 2;
  }

  finArrived(): void {
    this.#hasFin = true;
  }

  /**
   * The reader took bytes. True: send CREDIT now, because enough of the window is free again.
   */
  take(bytes: number, nowMs: number, roundTripMs: number | undefined): boolean {
    if (this.#stopped) return false;
    this.#taken = Math.min(this.#taken + bytes, this.#received);
    this.#limit = this.#taken + this.#windowBytes;
    if (this.#limit - this.#advertisedLimit < creditStepBytes(this.#windowBytes)) return false;
    this.#adapt(nowMs, roundTripMs);
    return true;
  }

  /** Bytes arrived that no CREDIT has acknowledged. */
  get hasUnadvertised(): boolean {
    return this.#received !== this.#advertisedReceived;
  }

  /** A CREDIT with the present numbers is sent. */
  advertised(): void {
    this.#advertisedReceived = this.#received;
    this.#advertisedLimit = this.#limit;
  }

  /**
   * The reader wants no more bytes. The window returns to the budgets, because bytes that still
   * arrive are dropped. The sender may use the credit that it has until it learns of the stop.
   * Idempotent.
   */
  stop(): void {
    this.#stopped = true;
    this.close();
  }

  /** Gives the window back to the budgets; the stream has ended. Idempotent. */
  close(): void {
    this.#options.budget.giveBack(this.#windowBytes);
    this.#windowBytes = 0;
  }

  #adapt(nowMs: number, roundTripMs: number | undefined): void {
    const measuredBytes = this.#taken - this.#measuredFrom;
    if (measuredBytes < this.#windowBytes / 2) return;
    const fast = roundTripMs !== undefined && nowMs - this.#measuredSinceMs < 2 * roundTripMs;
    this.#measuredFrom = this.#taken;
    this.#measuredSinceMs = nowMs;
    if (!fast) return;
    const growBytes = Math.min(this.#windowBytes, this.#options.maxBytes() - this.#windowBytes);
    // The other half is for streams to come. A few fast streams must not take all of the budget.
    if (growBytes <= 0 || growBytes > this.#options.budget.freeBytes / 2) return;
    this.#options.budget.take(growBytes);
    this.#windowBytes += growBytes;
    this.#limit += growBytes;
  }
}

function startBytes({ initialBytes, minBytes, budget }: ReceiveWindowOptions): number {
  const { freeBytes, limitBytes } = budget;
  const isCrowded = freeBytes < limitBytes - limitBytes / 8;
  const wantedBytes = isCrowded ? Math.min(initialBytes, crowdedStartBytes) : initialBytes;
  return Math.max(minBytes, Math.min(wantedBytes, freeBytes));
}

/** A quarter of the window; up to a half when that is little. */
function creditStepBytes(windowBytes: number): number {
  return Math.max(windowBytes / 4, Math.min(windowBytes / 2, minCreditBytes));
}
