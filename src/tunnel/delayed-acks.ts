import type { Clock, Timer } from '../base/clock.ts';
import type { Stream } from './stream.ts';

/**
 * Acknowledges received bytes that are too few for a CREDIT of their own. One timer serves all
 * streams of a session, so a sender keeps a copy of its bytes no longer than the delay.
 */
export class DelayedAcks {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #streams = new Set<Stream>();
  #timer: Timer | undefined;

  constructor(clock: Clock, delayMs: number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  add(stream: Stream): void {
    this.#streams.add(stream);
    this.#timer ??= this.#clock.setTimer(this.#delayMs, () => this.#acknowledge());
  }

  delete(stream: Stream): void {
    this.#streams.delete(stream);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #acknowledge(): void {
    this.#timer = undefined;
    for (const stream of this.#streams) {
      if (stream.receiving.hasUnadvertised) stream.scheduleCredit();
    }
    this.#streams.clear();
  }
}
