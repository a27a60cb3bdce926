import { notableDifferenceMs } from '../base/time-header.ts';
import type { Logger } from '../base/log/logger.ts';

/**
 * The greatest correction, in milliseconds. A token that is signed for a later time can be kept and used then. So this bounds how
 * long an attacker who was once between agent and broker (a gateway that ends TLS) can use a token. It is far more than clocks drift.
 */
export const maxCorrectionMs = 3_600_000;
/** Smaller changes are measuring errors: a request takes a while. In milliseconds. */
const stepMs = 5_000;

/**
 * The time for the tokens of an agent: that of the broker, as its answers say, where the clock of this machine differs. Tokens are valid for 60 s,
 * so without a correction a clock that is a minute wrong keeps an agent out.
 */
export class BrokerClock {
  readonly #wallClock: () => number;
  readonly #log: Logger;
  #correctionMs = 0;
  #differenceMs = 0;
  #isLogged = false;

  /** @param wallClock milliseconds since 1970 */
  constructor(log: Logger, wallClock: () => number = Date.now) {
    this.#log = log;
    this.#wallClock = wallClock;
  }

  /** How far the broker's clock was ahead of this machine's at its last answer, in milliseconds; 0: not known. */
  get differenceMs(): number {
    return this.#differenceMs;
  }

  /** The difference between the time in tokens and the time of this machine, in milliseconds. */
  get correctionMs(): number {
    return this.#correctionMs;
  }

  /** The time of this machine. */
  localTime(): Date {
    return new Date(this.#wallClock());
  }

  /** The time to use in a token. */
  now(): Date {
    return new Date(this.#wallClock() + this.#correctionMs);
  }

  /**
   * A broker has told its time, in an answer that has just come.
   *
   * @param elapsedMs since the request was sent
   */
  observe(brokerTimeMs: number, elapsedMs: number): void {
    const differenceMs = Math.round(brokerTimeMs - (this.#wallClock() - elapsedMs / 2));
    this.#differenceMs = differenceMs;
    const isTooMuch = Math.abs(differenceMs) > maxCorrectionMs;
    const wantedMs = isTooMuch || Math.abs(differenceMs) < stepMs ? 0 : differenceMs;
    if (Math.abs(wantedMs - this.#correctionMs) >= stepMs) this.#correctionMs = wantedMs;
    this.#report(isTooMuch);
  }

  #report(isTooMuch: boolean): void {
    const isNotable = Math.abs(this.#differenceMs) > notableDifferenceMs;
    if (isNotable && !this.#isLogged) {
      const next = isTooMuch
        ? `more than ${maxCorrectionMs / 1000} s are not corrected for, so the broker refuses this agent; set the clock`
        : 'tokens are made for the time of the broker; set the clock that is wrong';
      const differenceS = Math.round(this.#differenceMs / 1000);
      this.#log.warn('the clocks of agent and broker differ', { brokerAheadS: differenceS, next });
    }
    this.#isLogged = isNotable;
  }
}
