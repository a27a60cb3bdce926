import type { Clock, Timer } from '../base/clock.ts';
import { FrameType } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import { relayLimits } from './relay-options.ts';

const payload = new Uint8Array(8);

/** Asks an agent through its tunnel whether its process is alive. One check runs at a time. */
export class LivenessCheck {
  readonly #link: Link;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #onAlive: (() => void) | undefined;

  constructor(link: Link, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  /** A check runs, and its answer has not come. */
  get pending(): boolean {
    return this.#timer !== undefined;
  }

  /** Sends PING. Without effect while a check is pending. */
  start(onAlive: () => void, onDead: () => void): void {
    if (this.pending) return;
    const { livenessTimeoutMs } = relayLimits;
    const startedMs = this.#clock.now();
    this.#onAlive = onAlive;
    this.#timer = this.#clock.setTimer(livenessTimeoutMs, () => {
      this.#timer = undefined;
      // The PONG may be late behind other bytes, and other bytes since the PING prove as much. The
      // timer may be late too.
      const isHeard = (this.#link.silentMs ?? Infinity) < this.#clock.now() - startedMs;
      if (isHeard) onAlive();
      else onDead();
    });
    this.#link.sendCopy(FrameType.ping, 0, 0, payload);
  }

  /** PONG has come. */
  answered(): void {
    if (!this.pending) return;
    this.cancel();
    this.#onAlive?.();
  }

  /** Idempotent. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
