import type { Clock, Timer } from '../base/clock.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';

/** How long a target may take nothing before its client is read on, in milliseconds. */
const patienceMs = 100;
/** How much of what a client wrote is kept for a target that takes nothing, in bytes. */
const maxBacklogBytes = 1024 * 1024;

/**
 * The way from a client to its target. Where the tunnel has no room the client is not read, so HTTP/2 holds it back. But a CLOSE_REQ
 * would wait behind that, and Close in the client with it, for a target that may never read again. So after a while the client is read
 * on, as far as a bounded backlog goes. Fast targets never come to that, and their bytes are not copied.
 */
export class TargetWriter {
  readonly #tunnel: TunnelStream;
  readonly #clock: Clock;
  readonly #readOn: () => void;
  readonly #backlog: Uint8Array[] = [];
  #backlogBytes = 0;
  #isBlocked = false;
  /** Out of patience: the client is read although the tunnel has no room. */
  #isReadingOn = false;
  #finWanted = false;
  #timer: Timer | undefined;
  #blockCount = 0;
  #blockCountAtTimer = 0;

  /** @param readOn the client may be read again */
  constructor(tunnel: TunnelStream, clock: Clock, readOn: () => void) {
    this.#tunnel = tunnel;
    this.#clock = clock;
    this.#readOn = readOn;
  }

  /** Takes bytes from the client. False: stop reading until `readOn`. */
  write(bytes: Uint8Array): boolean {
    // The rest of what had been read when the tunnel was full goes the same way: it takes all that it is given.
    if (!this.#isReadingOn) {
      if (this.#tunnel.write(bytes)) return true;
      if (!this.#isBlocked) this.#block();
      return false;
    }
    this.#backlog.push(Uint8Array.from(bytes));
    this.#backlogBytes += bytes.length;
    return this.#backlogBytes < maxBacklogBytes;
  }

  /** The tunnel has room again. */
  onWritable(): void {
    this.#isBlocked = false;
    while (!this.#isBlocked && this.#backlog.length > 0) {
      const bytes = this.#backlog.shift()!;
      this.#backlogBytes -= bytes.length;
      if (!this.#tunnel.write(bytes)) this.#block();
    }
    if (!this.#isBlocked) this.#isReadingOn = false;
    if (this.#finWanted && this.#backlog.length === 0) this.#tunnel.fin();
    else if (!this.#isBlocked || this.#isReadingOn) this.#readOn();
  }

  /** Nothing more is written; what was written goes first. */
  fin(): void {
    this.#timer?.cancel();
    this.#finWanted = true;
    if (this.#backlog.length === 0) this.#tunnel.fin();
  }

  /** The target is gone, or the client has no claim any more. */
  discard(): void {
    this.#timer?.cancel();
    this.#backlog.length = 0;
  }

  #block(): void {
    this.#isBlocked = true;
    this.#blockCount++;
    if (!this.#timer && !this.#finWanted && !this.#isReadingOn) this.#startTimer();
  }

  /** One timer looks at all blocks within its time: bulk is blocked and let go hundreds of times a second. */
  #startTimer(): void {
    this.#blockCountAtTimer = this.#blockCount;
    this.#timer = this.#clock.setTimer(patienceMs, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    if (!this.#isBlocked) return;
    if (this.#blockCount !== this.#blockCountAtTimer) {
      this.#startTimer();
      return;
    }
    this.#isReadingOn = true;
    if (this.#backlogBytes < maxBacklogBytes) this.#readOn();
  };
}
