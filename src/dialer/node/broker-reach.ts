import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { ConnectError } from '../../tunnel/connect-error.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { AttachableLink } from '../../tunnel/link.ts';

/**
 * Delay between attempts while the broker cannot be reached, in milliseconds. Dials do not change
 * it.
 */
const retryMs = 2_000;

export interface BrokerReachOptions {
  /** Makes a link to the broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Whether a dialer reaches its broker and is accepted, as the last attempt showed: a dial, or an
 * attempt of this class. It makes one attempt at the start, and further ones only while they fail.
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

  /** Why dials fail now, as a sentence; undefined: they do not. */
  get unready(): string | undefined {
    return this.#unready;
  }

  /** Takes the result of an attempt to connect; undefined: a link. */
  settled(error: TunnelError | undefined): void {
    if (this.#stop.signal.aborted) return;
    // A broker that asks to come back later, or refuses only this cluster, has accepted the
    // credential.
    const isReached =
      error === undefined ||
      error.code === 'overloaded' ||
      error.code === 'no_agent' ||
      (error.cause instanceof ConnectError && error.cause.brokerCode === 'forbidden_cluster');
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
