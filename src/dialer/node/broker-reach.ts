import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { AttachableLink } from '../../tunnel/link.ts';

/** While the broker cannot be reached it is tried again after this long, in milliseconds, whether somebody dials or not. */
const retryMs = 2_000;

export interface BrokerReachOptions {
  /** Makes a link to the broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Whether a dialer can reach its broker, and is let in: what the last attempt showed, by a dial or by this itself. It tries once at
 * the start and then only while it fails.
 */
export class BrokerReach implements Disposable {
  readonly #options: BrokerReachOptions;
  readonly #stop = new AbortController();
  #timer: Timer | undefined;
  #unready: string | undefined = 'the broker has not answered yet';
  #logged: string | undefined;

  constructor(options: BrokerReachOptions) {
    this.#options = options;
    void this.#try();
  }

  /** Why dials would fail, in a sentence; undefined: they would not. */
  get unready(): string | undefined {
    return this.#unready;
  }

  /** How an attempt to connect has ended; undefined: with a link. */
  settled(error: TunnelError | undefined): void {
    if (this.#stop.signal.aborted) return;
    // A broker that asks for patience is there, and has let in whoever it asks.
    const isReached =
      error === undefined || error.code === 'overloaded' || error.code === 'no_agent';
    this.#timer?.cancel();
    if (isReached) return this.#reached();
    this.#unready = error.message;
    this.#timer = this.#options.clock.setTimer(retryMs, () => void this.#try());
    if (this.#logged === error.message) return;
    this.#logged = error.message;
    this.#options.log.warn('broker not reached, dials fail', {
      code: error.code,
      error: error.message,
    });
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new TunnelError('cancelled', 'the dialer was closed'));
    this.#timer?.cancel();
  }

  #reached(): void {
    this.#unready = undefined;
    if (this.#logged !== undefined) this.#options.log.info('broker reached again');
    this.#logged = undefined;
  }

  /** Never rejects. */
  async #try(): Promise<void> {
    try {
      const link = await this.#options.connect(this.#stop.signal);
      link.close();
      this.settled(undefined);
    } catch (thrown) {
      this.settled(TunnelError.from(thrown, 'link_lost'));
    }
  }
}
