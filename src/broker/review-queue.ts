import { AuthenticationUnavailableError } from './authenticator.ts';

/** Bounds on the questions to the hub's API server about tokens. */
export const reviewLimits = {
  /** Questions that are asked at a time. */
  maxAsked: 16,
  /** Questions that wait for their turn. */
  maxWaiting: 256,
  /** The part of those two that the requests of one address may use. */
  addressPart: 1 / 2,
} as const;

/** Asks a few questions at a time. The others wait in their order, and beyond a bound they are not asked at all. */
export class ReviewQueue {
  #asked = 0;
  /** Call one to let its question be asked. */
  readonly #waiting: (() => void)[] = [];
  /** Questions of each address, asked or waiting. */
  readonly #ofAddress = new Map<string, number>();

  /**
   * Calls `ask` when it is its turn.
   *
   * @param address whose request it is for; undefined: not known, and not limited
   * @throws AuthenticationUnavailableError too many questions wait, in total or of this address; what `ask` throws
   */
  async run<T>(address: string | undefined, ask: () => Promise<T>): Promise<T> {
    const { maxAsked, maxWaiting, addressPart } = reviewLimits;
    const ofAddress = address === undefined ? 0 : (this.#ofAddress.get(address) ?? 0);
    const isFull = this.#asked >= maxAsked && this.#waiting.length >= maxWaiting;
    if (isFull || ofAddress >= (maxAsked + maxWaiting) * addressPart) {
      throw new AuthenticationUnavailableError(
        `the token cannot be checked now: ${this.#asked + this.#waiting.length} others are being checked`,
      );
    }
    if (address !== undefined) this.#ofAddress.set(address, ofAddress + 1);
    try {
      if (this.#asked >= maxAsked) await this.#turn();
      else this.#asked++;
      try {
        return await ask();
      } finally {
        // The place of this question goes to the one that has waited longest.
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
