import type { Clock } from '../base/clock.ts';

/** One of so many writes is measured. */
const sampleEvery = 64;

/**
 * Measures how long bytes for clients take to leave the process: one of 64 writes, and one at a
 * time, because a measurement of each write would cost more than the write of a byte.
 */
export class WriteTimes {
  readonly #clock: Clock;
  readonly #record: (seconds: number) => void;
  #writes = 0;
  #measured: object | undefined;
  #startedMs = 0;

  constructor(clock: Clock, record: (seconds: number) => void) {
    this.#clock = clock;
    this.#record = record;
  }

  /** `writer` gives bytes to its connection. */
  sending(writer: object): void {
    if (this.#writes++ % sampleEvery > 0) return;
    this.#measured = writer;
    this.#startedMs = this.#clock.now();
  }

  /** All bytes of `writer` have left the process. */
  sent(writer: object): void {
    if (writer !== this.#measured) return;
    this.#measured = undefined;
    this.#record((this.#clock.now() - this.#startedMs) / 1_000);
  }
}
