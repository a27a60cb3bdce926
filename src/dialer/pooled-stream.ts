import type { Clock } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { StreamRequest } from '../tunnel/stream-request.ts';
import type { OpenOptions } from './dialer.ts';

const defaultTimeoutMs = 10_000;

/** Opens a stream in the session that is current now. */
export type OpenStream = (request: StreamRequest, handler: StreamHandler) => Stream;

/**
 * A stream as the user of a pooled dialer sees it. It can change its stream in a session once, during the dial: an agent that was
 * lost before it answered has connected to nothing for which a byte could be lost, so another agent can be asked.
 */
export class PooledStream implements TunnelStream, StreamHandler {
  readonly #openStream: OpenStream;
  readonly #clock: Clock;
  readonly #options: OpenOptions;
  readonly #handler: StreamHandler;
  readonly #startedMs: number;
  #stream: Stream;
  #isDialing = true;
  #mayDialAgain = true;

  constructor(openStream: OpenStream, clock: Clock, options: OpenOptions, handler: StreamHandler) {
    this.#openStream = openStream;
    this.#clock = clock;
    this.#options = options;
    this.#handler = handler;
    this.#startedMs = clock.now();
    this.#stream = this.#dial(options.timeoutMs ?? defaultTimeoutMs);
    const { signal } = options;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get number(): number {
    return this.#stream.number;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isDialing) this.#mayDialAgain = false;
    return this.#stream.write(bytes);
  }

  fin(): void {
    this.#mayDialAgain = false;
    this.#stream.fin();
  }

  reset(error: TunnelError): void {
    this.#mayDialAgain = false;
    this.#stream.reset(error);
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  stopReceiving(): void {
    this.#mayDialAgain = false;
    this.#stream.stopReceiving();
  }

  onOpened(): void {
    this.#endDial();
    this.#handler.onOpened?.();
  }

  onData(bytes: Uint8Array): void {
    this.#handler.onData(bytes);
  }

  onFin(): void {
    this.#handler.onFin();
  }

  onWritable(): void {
    this.#handler.onWritable();
  }

  onStop(): void {
    this.#handler.onStop?.();
  }

  onClose(error: TunnelError | undefined): void {
    if (error?.code === 'agent_lost' && this.#dialAgain()) return;
    this.#endDial();
    this.#handler.onClose(error);
  }

  readonly #onAbort = (): void => {
    const { signal } = this.#options;
    this.reset(new TunnelError('cancelled', 'the dial was aborted', { cause: signal?.reason }));
  };

  #dial(timeoutMs: number): Stream {
    const { target, caller, trace } = this.#options;
    return this.#openStream({ target, timeoutMs, caller, trace }, this);
  }

  /** Starts the dial again if that loses nothing, within the time that is left. Returns whether it did. */
  #dialAgain(): boolean {
    const { timeoutMs = defaultTimeoutMs } = this.#options;
    const leftMs = timeoutMs - (this.#clock.now() - this.#startedMs);
    if (!this.#isDialing || !this.#mayDialAgain || (timeoutMs > 0 && leftMs <= 0)) return false;
    this.#mayDialAgain = false;
    this.#stream = this.#dial(timeoutMs > 0 ? Math.ceil(leftMs) : 0);
    return true;
  }

  #endDial(): void {
    if (!this.#isDialing) return;
    this.#isDialing = false;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }
}
