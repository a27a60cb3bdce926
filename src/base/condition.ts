/**
 * A condition that callers wait for, such as "no stream is open". The owner of the state calls
 * `changed` after each change that can make the condition true.
 */
export class Condition {
  readonly #isTrue: () => boolean;
  #waiters: (() => void)[] = [];

  constructor(isTrue: () => boolean) {
    this.#isTrue = isTrue;
  }

  /** Wakes the waiters if the condition is true now. */
  changed(): void {
    if (this.#waiters.length === 0 || !this.#isTrue()) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /**
   * Resolves with true when the condition is true, at once if it is true already, or with false
   * when the signal aborts.
   */
  async wait(signal?: AbortSignal): Promise<boolean> {
    if (this.#isTrue()) return true;
    if (signal?.aborted === true) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = (): void => resolve(true);
    const abort = (): void => {
      this.#waiters = this.#waiters.filter((waiter) => waiter !== wake);
      resolve(false);
    };
    this.#waiters.push(wake);
    signal?.addEventListener('abort', abort, { once: true });
    const isTrue = await promise;
    signal?.removeEventListener('abort', abort);
    return isTrue;
  }
}
