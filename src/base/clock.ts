/** A timer that has been set. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
  /**
   * Sets a timer that has fired once more, with the same delay. It allocates nothing, because
   * thousands of timers can be pending.
   */
  restart(): void;
}

/**
 * Time for the protocol. Programs pass `systemClock`. Tests pass a virtual clock and need no sleep.
 */
export interface Clock {
  /** Monotonic milliseconds. Only differences have a meaning. */
  now(): number;
  /** Calls `fire` once, `delayMs` from now. A pending timer does not keep a process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
}

// Every runtime has the two globals, but the types of their handles differ. So they are declared
// here with the members that are used.
declare const performance: { now(): number };
declare function setTimeout(fire: () => void, delayMs: number): unknown;
declare function clearTimeout(handle: unknown): void;

/** The handle of a Node timeout. On other runtimes it is a number, without these methods. */
interface TimeoutHandle {
  unref?(): void;
  refresh?(): void;
}

class SystemTimer implements Timer {
  readonly #delayMs: number;
  readonly #fire: () => void;
  #handle: TimeoutHandle;

  constructor(delayMs: number, fire: () => void) {
    this.#delayMs = delayMs;
    this.#fire = fire;
    this.#handle = this.#set();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  restart(): void {
    if (this.#handle.refresh === undefined) this.#handle = this.#set();
    else this.#handle.refresh();
  }

  #set(): TimeoutHandle {
    const handle = setTimeout(this.#fire, this.#delayMs) as TimeoutHandle;
    handle.unref?.();
    return handle;
  }
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer: (delayMs, fire) => new SystemTimer(delayMs, fire),
};
