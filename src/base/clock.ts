/** A timer that has been set. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as the protocol sees it. Programs pass `systemClock`; tests pass a virtual one and so need no sleep.
 */
export interface Clock {
  /** Monotonic milliseconds; only differences mean anything. */
  now(): number;
  /** Calls `fire` once, `delayMs` from now. A pending timer does not keep a process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
}

// The two globals exist on every runtime, but their handle types differ, so they are named here structurally.
declare const performance: { now(): number };
declare function setTimeout(fire: () => void, delayMs: number): unknown;
declare function clearTimeout(handle: unknown): void;

class SystemTimer implements Timer {
  readonly #handle: unknown;

  constructor(handle: unknown) {
    this.#handle = handle;
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(delayMs, fire) {
    const handle = setTimeout(fire, delayMs) as { unref?: () => void };
    // On Node a handle has unref; elsewhere it is a number and nothing needs doing.
    handle.unref?.();
    return new SystemTimer(handle);
  },
};
