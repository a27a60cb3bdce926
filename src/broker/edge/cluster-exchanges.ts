import { systemClock, type Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { PooledDialer } from '../../dialer/pooled-dialer.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import { openHttpExchange } from '../../http-exchange/open-http-exchange.ts';
import type { AttachableLink } from '../../tunnel/link.ts';

/**
 * How long the session with an agent is kept after the last request, in milliseconds. Its timer
 * keeps the object awake, and an object that is awake costs money.
 */
const idleMs = 2_000;

export interface ClusterExchangesOptions {
  /** Makes a link to the relay of this object. */
  readonly connect: () => AttachableLink;
  readonly log: Logger;
}

/**
 * The HTTP exchanges of a cluster's object. The first one makes a dialer, whose session with the
 * agent ends some seconds after the last one: the object can only sleep without sessions of its
 * own, because they are lost with its memory.
 */
export class ClusterExchanges {
  readonly #options: ClusterExchangesOptions;
  #dialer: PooledDialer | undefined;
  #timer: Timer | undefined;
  #isUsed = false;

  constructor(options: ClusterExchangesOptions) {
    this.#options = options;
  }

  readonly open: OpenHttpExchange = (options, handler) => {
    this.#isUsed = true;
    this.#dialer ??= this.#makeDialer();
    this.#timer ??= systemClock.setTimer(idleMs, () => this.#onTimer());
    return openHttpExchange(this.#dialer)(options, handler);
  };

  #makeDialer(): PooledDialer {
    const { connect, log } = this.#options;
    return new PooledDialer({
      connect: async () => connect(),
      clock: systemClock,
      log: log.child({ subsystem: 'dialer' }),
      software: 'culvert-gateway/edge',
    });
  }

  #onTimer(): void {
    const wasUsed = this.#isUsed || this.#dialer!.streamCount > 0;
    this.#isUsed = false;
    if (wasUsed) return this.#timer!.restart();
    this.#timer = undefined;
    this.#dialer!.close();
    this.#dialer = undefined;
  }
}
