/** A timer that has been set. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
  /** Called when it has fired: sets it once more, for the same delay. Makes no garbage, which counts where thousands are pending. */
  restart(): void;
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

/** A timeout of Node; elsewhere it is a number and has neither. */
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
