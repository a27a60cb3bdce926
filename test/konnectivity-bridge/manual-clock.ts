import type { Clock, Timer } from '../../src/base/clock.ts';

/** A clock that the test advances. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Map<object, { readonly at: number; readonly fire: () => void }>();

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = {
      cancel: () => void this.#timers.delete(timer),
      restart: () => void this.#timers.set(timer, { at: this.#now + delayMs, fire }),
    };
    timer.restart();
    return timer;
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds;
    for (const [timer, { at, fire }] of this.#timers) {
      if (at > this.#now) continue;
      this.#timers.delete(timer);
      fire();
    }
  }
}
