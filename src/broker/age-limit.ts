import type { Clock, Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import { relayLimits } from './relay-options.ts';

interface AgingTunnel {
  readonly link: Link;
  retire(deadlineMs: number): void;
}

/**
 * Replaces tunnels from time to time, so that agents spread over replicas that were added later. At
 * its age limit a tunnel retires. If it still exists `relayLimits.retireMs` later, it closes.
 */
export class AgeLimit {
  readonly #clock: Clock;
  readonly #maxAgeMs: number;
  readonly #tunnel: AgingTunnel;
  #timer: Timer | undefined;

  /** @param maxAgeMs the age at which the tunnel retires, in milliseconds; Infinity: never */
  constructor(clock: Clock, maxAgeMs: number, tunnel: AgingTunnel) {
    this.#clock = clock;
    this.#maxAgeMs = maxAgeMs;
    this.#tunnel = tunnel;
  }

  /** The tunnel is established. */
  start(): void {
    if (this.#maxAgeMs === Infinity) return;
    const { ageJitter, retireMs } = relayLimits;
    const randomAgeMs = this.#maxAgeMs * (1 + ageJitter * (2 * Math.random() - 1));
    // Whole seconds, because Node keeps one list for each distinct length of timers.
    const ageMs = Math.ceil(randomAgeMs / 1000) * 1000;
    this.#timer = this.#clock.setTimer(ageMs, () => {
      this.#tunnel.retire(retireMs);
      this.#timer = this.#clock.setTimer(retireMs, () =>
        this.#tunnel.link.close(new TunnelError('draining', 'this tunnel has been replaced')),
      );
    });
  }

  /** Idempotent. */
  cancel(): void {
    this.#timer?.cancel();
  }
}
