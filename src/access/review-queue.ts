import { AccessError } from './access-error.ts';

/** Default limits on reviews at one API server. */
export const reviewLimits = {
  /** Reviews that run at a time. */
  maxAsked: 16,
  /** Reviews that wait for their turn. */
  maxWaiting: 256,
  /** The part of both limits that the requests of one client may use. */
  addressPart: 1 / 2,
} as const;

/** Runs a few reviews at a time. Others wait in order, and beyond a limit they fail at once. */
export class ReviewQueue {
  #asked = 0;
  /** Each function starts a review that waits. */
  readonly #waiting: (() => void)[] = [];
  /** Reviews of each address that run or wait. */
  readonly #ofAddress = new Map<string, number>();

  /**
   * Calls `ask` when it is its turn.
   *
   * @param address of the client; undefined: unknown, and not limited
   * @throws AccessError `unavailable` too many reviews wait, in total or of this address; what
   *   `ask` throws
   */
  async run<T>(address: string | undefined, ask: () => Promise<T>): Promise<T> {
    const { maxAsked, maxWaiting, addressPart } = reviewLimits;
    const ofAddress = address === undefined ? 0 : (this.#ofAddress.get(address) ?? 0);
    const isFull = this.#asked >= maxAsked && this.#waiting.length >= maxWaiting;
    if (isFull || ofAddress >= (maxAsked + maxWaiting) * addressPart) {
      throw new AccessError(
        'unavailable',
        `the request cannot be checked now: ${this.#asked + this.#waiting.length} others are being checked`,
      );
    }
    if (address !== undefined) this.#ofAddress.set(address, ofAddress + 1);
    try {
      if (this.#asked >= maxAsked) await this.#turn();
      else this.#asked++;
      try {
        return await ask();
      } finally {
        // The review that has waited longest takes the place of this one.
        const next = this.#waiting.shift();
        if (next === undefined) this.#asked--;
        else next();
      }
    } finally {
      this.#leave(address);
    }
  }

  #turn(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    return promise;
  }

  #leave(address: string | undefined): void {
    if (address === undefined) return;
    const others = (this.#ofAddress.get(address) ?? 1) - 1;
    if (others > 0) this.#ofAddress.set(address, others);
    else this.#ofAddress.delete(address);
  }
}
