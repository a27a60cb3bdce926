import type { Clock, Timer } from '../base/clock.ts';
import { ByteQueue } from '../base/byte-queue.ts';
import type { WindowBudget } from '../tunnel/window-budget.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';

/** How long a target may take nothing before its client is read again, in milliseconds. */
const patienceMs = 100;
/** How many bytes of a client are kept for a target that takes nothing. */
const maxBacklogBytes = 1024 * 1024;
/** The most bytes in the backlogs of all connections of a bridge. */
export const maxBacklogBytesOfAll = 64 * 1024 * 1024;
/** One connection gets at most this share of what is free. */
const shareOfFree = 1 / 8;

/**
 * Writes a client's bytes to its target. While the tunnel has no room, the client is not read, and
 * HTTP/2 holds it back. But then a CLOSE_REQ, and with it Close in the client, would wait for a
 * target that may never read again. So after `patienceMs` the client is read again, into a bounded
 * backlog. As soon as the target reads, the client waits until the backlog is gone, so a target that
 * is only slow does not make each of its bytes pass the backlog. All backlogs have one budget, because
 * each of a thousand busy uploads waits for longer than `patienceMs`.
 */
export class TargetWriter {
  readonly #tunnel: TunnelStream;
  readonly #clock: Clock;
  readonly #budget: WindowBudget;
  readonly #resumeClient: () => void;
  readonly #backlog = new ByteQueue();
  #isBlocked = false;
  /** The client is read although the tunnel has no room. */
  #isBuffering = false;
  #isFinRequested = false;
  #timer: Timer | undefined;
  #blockCount = 0;
  #blockCountAtTimer = 0;

  constructor(
    tunnel: TunnelStream,
    parts: {
      readonly clock: Clock;
      /** The budget of all backlogs. */
      readonly budget: WindowBudget;
      /** Called when the client can be read again. */
      readonly resumeClient: () => void;
    },
  ) {
    this.#tunnel = tunnel;
    this.#clock = parts.clock;
    this.#budget = parts.budget;
    this.#resumeClient = parts.resumeClient;
  }

  /**
   * Takes bytes from the client. False: stop reading from the client until `resumeClient` is
   * called.
   */
  write(bytes: Uint8Array): boolean {
    // Bytes that had been read before the client was paused are written too, because the tunnel
    // takes all it is given.
    if (!this.#isBuffering && this.#backlog.bytes === 0) {
      if (this.#tunnel.write(bytes)) return true;
      if (!this.#isBlocked) this.#block();
      return false;
    }
    this.#backlog.append(bytes);
    this.#budget.take(bytes.length);
    if (this.#isBuffering && !this.#hasRoom) {
      this.#isBuffering = false;
      this.#startTimer();
    }
    return this.#isBuffering;
  }

  /** The tunnel has room again. */
  onWritable(): void {
    this.#isBlocked = false;
    this.#isBuffering = false;
    while (!this.#isBlocked) {
      const bytes = this.#backlog.take();
      if (bytes === undefined) break;
      this.#budget.giveBack(bytes.length);
      if (!this.#tunnel.write(bytes)) this.#block();
    }
    if (this.#isFinRequested && this.#backlog.bytes === 0) this.#tunnel.fin();
    else if (!this.#isBlocked) this.#resumeClient();
  }

  /** Ends the stream to the target after everything that was written. */
  fin(): void {
    this.#timer?.cancel();
    this.#isFinRequested = true;
    if (this.#backlog.bytes === 0) this.#tunnel.fin();
  }

  /** Drops the backlog, because the target or the client is gone. */
  discard(): void {
    this.#timer?.cancel();
    this.#budget.giveBack(this.#backlog.bytes);
    this.#backlog.clear();
  }

  get #hasRoom(): boolean {
    const most = Math.min(maxBacklogBytes, this.#budget.freeBytes * shareOfFree);
    return this.#backlog.bytes < most;
  }

  #block(): void {
    this.#isBlocked = true;
    this.#blockCount++;
    if (this.#timer === undefined && !this.#isFinRequested && !this.#isBuffering)
      this.#startTimer();
  }

  /**
   * One timer covers all blocks within its time, because bulk transfers block and continue hundreds
   * of times a second.
   */
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
    if (this.#hasRoom) {
      this.#isBuffering = true;
      this.#resumeClient();
    } else if (this.#backlog.bytes < maxBacklogBytes) {
      // Other connections have the room. It is asked for again.
      this.#startTimer();
    }
  };
}
