import { TunnelError } from '../../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../tunnel/stream-handler.ts';

const streamEnded = new Error('the stream has ended');

/**
 * The handler of an exchange while the agent finds out what it needs for the request. Nothing but
 * the end of the stream arrives until then, because the stream has not been accepted.
 */
export class PendingExchange implements StreamHandler {
  readonly #abort = new AbortController();
  readonly #onFailed: (error: TunnelError) => void;
  #handler: StreamHandler | undefined;
  #isStopped = false;

  /** @param prepare makes the handler that takes over, or rejects with the reason for a refusal */
  constructor(
    stream: TunnelStream,
    prepare: (signal: AbortSignal) => Promise<StreamHandler>,
    onFailed: (error: TunnelError) => void,
  ) {
    this.#onFailed = onFailed;
    void this.#prepare(stream, prepare);
  }

  onData(bytes: Uint8Array): void {
    this.#handler?.onData(bytes);
  }

  onFin(): void {
    this.#handler?.onFin();
  }

  onWritable(): void {
    this.#handler?.onWritable();
  }

  onStop(): void {
    this.#isStopped = true;
    this.#handler?.onStop?.();
  }

  onClose(error: TunnelError | undefined): void {
    this.#abort.abort(streamEnded);
    this.#handler?.onClose(error);
  }

  /** Never rejects. */
  async #prepare(
    stream: TunnelStream,
    prepare: (signal: AbortSignal) => Promise<StreamHandler>,
  ): Promise<void> {
    const { signal } = this.#abort;
    try {
      const handler = await prepare(signal);
      this.#handler = handler;
      const cancelled = new TunnelError('cancelled', 'the stream ended before the request');
      if (signal.aborted) handler.onClose(cancelled);
      else if (this.#isStopped) handler.onStop?.();
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      this.#onFailed(error);
      stream.reset(error);
    }
  }
}
