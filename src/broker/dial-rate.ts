import type { Clock, Timer } from '../base/clock.ts';
import type { ReadingPauses } from './reading-pauses.ts';
import { relayLimits } from './relay-options.ts';

/**
 * Slows a dialer down that dials faster than `relayLimits` allow: its link is not read for a
 * moment.
 */
export class DialRate {
  readonly #pauses: ReadingPauses;
  readonly #clock: Clock;
  #dialsLeft: number = relayLimits.dialBurst;
  #countedAtMs = 0;
  #pause: Timer | undefined;

  constructor(pauses: ReadingPauses, clock: Clock) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /** The dialer has dialed. */
  count(): void {
    const { dialBurst, dialsPerSecond, dialPauseMs } = relayLimits;
    const nowMs = this.#clock.now();
    const newDials = ((nowMs - this.#countedAtMs) / 1000) * dialsPerSecond;
    this.#dialsLeft = Math.min(dialBurst, this.#dialsLeft + newDials) - 1;
    this.#countedAtMs = nowMs;
    if (this.#dialsLeft > 0) return;
    this.#pauses.begin('dial_rate');
    this.#pause ??= this.#clock.setTimer(dialPauseMs, () => {
      this.#pause = undefined;
      this.#pauses.end('dial_rate');
    });
  }

  /** Idempotent. */
  cancel(): void {
    this.#pause?.cancel();
  }
}
