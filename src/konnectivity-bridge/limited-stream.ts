import type { Clock, Timer } from '../base/clock.ts';
import type { Dialer, OpenOptions } from '../dialer/dialer.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import { DeferredStream } from './deferred-stream.ts';
import type { UsageLimit } from './usage-limit.ts';

/** Shorter waits are added to the next one, because a timer takes a millisecond or more. */
const minWaitMs = 2;

/** The dial's time if the client gives none, in milliseconds. */
const defaultTimeoutMs = 10_000;

export interface LimitedStreamParts {
  readonly dialer: Pick<Dialer, 'open'>;
  readonly clock: Clock;
  /** All of them must allow a dial or a byte. They are released at the end of the stream. */
  readonly limits: readonly UsageLimit[];
}

/**
 * A stream whose dial and bytes wait for the limits of its client and its cluster. Bytes are counted
 * after they were moved: the writer, or the return of the window, then waits until they are paid
 * for. So no bytes are kept here, and the wait reaches the client and the target as flow control.
 */
export class LimitedStream extends DeferredStream {
  readonly #parts: LimitedStreamParts;
  readonly #options: OpenOptions;
  #dialTimer: Timer | undefined;
  /** The writer waits for the limits. */
  #writeTimer: Timer | undefined;
  /** The writer waits for the stream. */
  #isBlocked = false;
  /** The window waits for the limits. */
  #readTimer: Timer | undefined;
  #unreturnedBytes = 0;
  #hasEnded = false;

  constructor(parts: LimitedStreamParts, options: OpenOptions, handler: StreamHandler) {
    super(handler);
    this.#parts = parts;
    this.#options = options;
    this.#startDial();
  }

  override write(bytes: Uint8Array): boolean {
    if (this.stream === undefined) return false;
    this.#isBlocked = !this.stream.write(bytes);
    const waitMs = this.#take(bytes.length);
    if (waitMs >= minWaitMs && !this.#hasEnded) {
      this.#writeTimer ??= this.#parts.clock.setTimer(waitMs, this.#onWriteTimer);
    }
    return !this.#isBlocked && this.#writeTimer === undefined;
  }

  override fin(): void {
    this.#endWriting();
    this.stream?.fin();
  }

  override reset(error: TunnelError): void {
    if (this.stream !== undefined) {
      this.#end();
      this.stream.reset(error);
    } else {
      this.#failDial(error);
    }
  }

  override consumed(bytes: number): void {
    this.#unreturnedBytes += bytes;
    const waitMs = this.#take(bytes);
    if (this.#readTimer !== undefined) return;
    if (waitMs < minWaitMs || this.#hasEnded) this.#returnWindow();
    else this.#readTimer = this.#parts.clock.setTimer(waitMs, this.#onReadTimer);
  }

  override onWritable(): void {
    this.#isBlocked = false;
    if (this.#writeTimer === undefined) this.handler.onWritable();
  }

  override onStop(): void {
    this.#endWriting();
    this.handler.onStop?.();
  }

  override onClose(error: TunnelError | undefined): void {
    this.#end();
    this.handler.onClose(error);
  }

  #startDial(): void {
    const { limits, clock } = this.#parts;
    const { timeoutMs = defaultTimeoutMs } = this.#options;
    let waitMs = 0;
    for (const limit of limits) waitMs = Math.max(waitMs, limit.takeDial());
    if (waitMs === 0) {
      this.#dial();
    } else if (timeoutMs > 0 && waitMs >= timeoutMs) {
      this.#failDial(new TunnelError('overloaded', 'too many dials per second'));
    } else {
      this.#dialTimer = clock.setTimer(waitMs, () => this.#dial());
    }
  }

  #dial(): void {
    this.stream = this.#parts.dialer.open(this.#options, this);
  }

  /** The dial ends before it was made. */
  #failDial(error: TunnelError): void {
    if (this.#hasEnded) return;
    for (const limit of this.#parts.limits) limit.giveDialBack();
    this.#end();
    // A handler is never called from inside a method of its stream.
    queueMicrotask(() => this.handler.onClose(error));
  }

  #take(bytes: number): number {
    let waitMs = 0;
    for (const limit of this.#parts.limits) waitMs = Math.max(waitMs, limit.takeBytes(bytes));
    return waitMs;
  }

  #returnWindow(): void {
    const bytes = this.#unreturnedBytes;
    this.#unreturnedBytes = 0;
    this.stream?.consumed(bytes);
  }

  #endWriting(): void {
    this.#writeTimer?.cancel();
    this.#writeTimer = undefined;
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const limit of this.#parts.limits) limit.release();
    this.#dialTimer?.cancel();
    this.#readTimer?.cancel();
    this.#endWriting();
  }

  readonly #onWriteTimer = (): void => {
    this.#writeTimer = undefined;
    if (!this.#isBlocked) this.handler.onWritable();
  };

  readonly #onReadTimer = (): void => {
    this.#readTimer = undefined;
    this.#returnWindow();
  };
}
