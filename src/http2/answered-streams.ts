import type { Clock, Timer } from '../base/clock.ts';
import type { Http2ServerStream } from './server-stream.ts';

export interface AnsweredStreamsOptions {
  readonly lingerMs: number;
  readonly clock: Clock;
  /** The client had its time. To be answered with RST_STREAM and `remove`. */
  readonly onExpired: (stream: Http2ServerStream) => void;
}

/**
 * Streams whose answer was sent before the request's body was complete. A server may end them with
 * RST_STREAM (RFC 9113, section 8.1), but curl up to 7.88 then fails while it still sends, and does
 * not show the answer. So clients get some time for the rest of the body, which nobody reads. No
 * window is given back for it, so a stream costs the connection at most one window.
 */
export class AnsweredStreams {
  readonly #options: AnsweredStreamsOptions;
  /** When the time of each stream ends, the earliest first. */
  readonly #deadlines = new Map<Http2ServerStream, number>();
  #timer: Timer | undefined;

  constructor(options: AnsweredStreamsOptions) {
    this.#options = options;
  }

  add(stream: Http2ServerStream): void {
    const { lingerMs, clock } = this.#options;
    this.#deadlines.set(stream, clock.now() + lingerMs);
    this.#timer ??= clock.setTimer(lingerMs, () => this.#expire());
  }

  has(stream: Http2ServerStream): boolean {
    return this.#deadlines.has(stream);
  }

  /** Idempotent. */
  remove(stream: Http2ServerStream): void {
    if (!this.#deadlines.delete(stream) || this.#deadlines.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** The connection has ended. Idempotent. */
  clear(): void {
    this.#deadlines.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #expire(): void {
    const { clock, onExpired } = this.#options;
    this.#timer = undefined;
    const nowMs = clock.now();
    for (const [stream, deadlineMs] of this.#deadlines) {
      if (deadlineMs > nowMs) {
        this.#timer = clock.setTimer(deadlineMs - nowMs, () => this.#expire());
        return;
      }
      onExpired(stream);
    }
  }
}
