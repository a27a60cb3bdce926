import type { Clock, Timer } from '../base/clock.ts';
import type { FrontLimits } from './front-limits.ts';

/** The HTTP/2 connection that is watched. */
export interface WatchedConnection {
  /** All bytes that the client has sent. */
  readonly receivedBytes: number;
  readonly isClosed: boolean;
  /** Sends a PING. */
  ping(): void;
}

export interface ClientWatchOptions {
  readonly connection: WatchedConnection;
  readonly limits: Pick<FrontLimits, 'pingIntervalMs' | 'pingTimeoutMs'>;
  readonly clock: Clock;
  /** The client has sent nothing for `silentMs`, not even the answer to a PING. */
  readonly onDead: (silentMs: number) => void;
}

/**
 * Detects that the client of an HTTP/2 connection is gone without a word from its system. TCP
 * keepalive detects this only while no data is on its way, because the kernel retransmits
 * unacknowledged data for 15 minutes.
 *
 * A client with open calls that sends nothing gets a PING (RFC 9113, section 6.7). Any byte counts
 * as an answer, because the answer itself may be behind a long upload. A client that does not read
 * its calls still answers, because flow control does not apply to PING. On a slow link the PING may
 * be behind a long download, so bytes that leave a queue count too.
 */
export class ClientWatch {
  readonly #options: ClientWatchOptions;
  #calls = 0;
  #timer: Timer | undefined;
  #progressed = false;
  #heardBytes = 0;
  #heardAtMs = 0;
  /** When the PING was sent that has no answer yet. */
  #pingAtMs: number | undefined;

  constructor(options: ClientWatchOptions) {
    this.#options = options;
  }

  /** A call has begun. */
  callBegan(): void {
    this.#calls++;
    if (this.#timer !== undefined) return;
    this.#heard();
    this.#schedule();
  }

  /**
   * Bytes have left the process while more bytes are queued. The kernel's buffer was full then, and
   * has room again only because the client's system has acknowledged something.
   */
  progressed(): void {
    this.#progressed = true;
  }

  /** A call has ended. A connection without calls is not watched. */
  callEnded(): void {
    if (--this.#calls > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #schedule(): void {
    const { clock, limits } = this.#options;
    this.#timer = clock.setTimer(limits.pingIntervalMs, () => this.#check());
  }

  #heard(): void {
    this.#heardBytes = this.#options.connection.receivedBytes;
    this.#heardAtMs = this.#options.clock.now();
    this.#pingAtMs = undefined;
    this.#progressed = false;
  }

  #check(): void {
    const { connection, clock, limits, onDead } = this.#options;
    if (connection.isClosed) return;
    const nowMs = clock.now();
    if (connection.receivedBytes !== this.#heardBytes || this.#progressed) {
      this.#heard();
    } else if (this.#pingAtMs === undefined) {
      this.#pingAtMs = nowMs;
      connection.ping();
    } else if (nowMs - this.#pingAtMs >= limits.pingTimeoutMs) {
      onDead(nowMs - this.#heardAtMs);
      return;
    }
    this.#schedule();
  }
}
