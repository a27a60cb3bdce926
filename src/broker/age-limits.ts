import type { Clock, Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import { relayLimits } from './relay-options.ts';

interface AgingTunnel {
  readonly link: Pick<Link, 'close'>;
  /** The tunnel has been retired. */
  readonly retiring: boolean;
  retire(deadlineMs: number): void;
}

/**
 * Replaces tunnels from time to time, so that agents spread over replicas that were added later. At
 * its age limit a tunnel retires. If it still exists `relayLimits.retireMs` later, it closes.
 *
 * One timer serves all tunnels, because thousands of tunnels are idle for hours and a timer for
 * each takes more memory. It fires at most once a second.
 */
export class AgeLimits {
  readonly #clock: Clock;
  readonly #maxAgeMs: number;
  /** When each tunnel reaches its next limit, in whole seconds of the clock. */
  readonly #dueS = new Map<AgingTunnel, number>();
  #timer: Timer | undefined;
  /** When the timer fires; Infinity: none is set. */
  #timerAtS = Infinity;

  /** @param maxAgeMs the age at which a tunnel retires, in milliseconds; Infinity: never */
  constructor(clock: Clock, maxAgeMs: number) {
    this.#clock = clock;
    this.#maxAgeMs = maxAgeMs;
  }

  /** The tunnel is established. */
  start(tunnel: AgingTunnel): void {
    const { ageJitter } = relayLimits;
    this.#plan(tunnel, this.#maxAgeMs * (1 + ageJitter * (2 * Math.random() - 1)));
  }

  /** The tunnel no longer has an age limit. Idempotent. */
  cancel(tunnel: AgingTunnel): void {
    this.#dueS.delete(tunnel);
    if (this.#dueS.size > 0) return;
    this.#timer?.cancel();
    this.#timerAtS = Infinity;
  }

  #plan(tunnel: AgingTunnel, delayMs: number): void {
    const dueS = Math.ceil((this.#clock.now() + delayMs) / 1000);
    this.#dueS.set(tunnel, dueS);
    if (dueS < this.#timerAtS) this.#setTimer(dueS);
  }

  #setTimer(atS: number): void {
    this.#timer?.cancel();
    this.#timerAtS = atS;
    const delayMs = Math.max(0, Math.ceil(atS * 1000 - this.#clock.now()));
    this.#timer = this.#clock.setTimer(delayMs, () => this.#look());
  }

  #look(): void {
    this.#timerAtS = Infinity;
    const nowMs = this.#clock.now();
    let nextS = Infinity;
    for (const [tunnel, dueS] of this.#dueS) {
      if (dueS * 1000 > nowMs) nextS = Math.min(nextS, dueS);
      else this.#reached(tunnel);
    }
    if (nextS < this.#timerAtS) this.#setTimer(nextS);
  }

  #reached(tunnel: AgingTunnel): void {
    this.#dueS.delete(tunnel);
    if (tunnel.retiring) {
      tunnel.link.close(new TunnelError('draining', 'this tunnel has been replaced'));
      return;
    }
    const { retireMs } = relayLimits;
    tunnel.retire(retireMs);
    this.#plan(tunnel, retireMs);
  }
}
