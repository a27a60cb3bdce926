import type { Clock, Timer } from '../base/clock.ts';
import { FrameType } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import { relayLimits } from './relay-options.ts';

const payload = new Uint8Array(8);

/** Asks an agent through its tunnel whether its process is still alive. There is one question at a time. */
export class LivenessCheck {
  readonly #link: Link;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #onAlive: () => void = () => {};

  constructor(link: Link, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  /** The answer has not come yet. */
  get pending(): boolean {
    return this.#timer !== undefined;
  }

  /** Sends PING. Of no effect while an answer is pending. */
  start(onAlive: () => void, onDead: () => void): void {
    if (this.pending) return;
    const { livenessTimeoutMs } = relayLimits;
    this.#onAlive = onAlive;
    this.#timer = this.#clock.setTimer(livenessTimeoutMs, () => {
      this.#timer = undefined;
      // The answer may be late behind other bytes, and these prove as much.
      const isHeard = (this.#link.silentMs ?? Infinity) < livenessTimeoutMs;
      if (isHeard) onAlive();
      else onDead();
    });
    this.#link.sendCopy(FrameType.ping, 0, 0, payload);
  }

  /** PONG has come. */
  answered(): void {
    if (!this.pending) return;
    this.cancel();
    this.#onAlive();
  }

  /** Idempotent. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
