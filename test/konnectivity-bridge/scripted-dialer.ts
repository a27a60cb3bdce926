import type { Dialer, OpenOptions } from '../../src/dialer/dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import type { Target } from '../../src/tunnel/stream-request.ts';

/**
 * A dialer whose agent is the test: nothing happens on a stream but what the test calls on its
 * handler.
 */
export class ScriptedDialer implements Dialer {
  readonly #streams: ScriptedStream[] = [];
  readonly #waiting: ((stream: ScriptedStream) => void)[] = [];

  /** How many streams have been opened. */
  get openedCount(): number {
    return this.#opened;
  }
  #opened = 0;

  open(options: OpenOptions, handler: StreamHandler): TunnelStream {
    const stream = new ScriptedStream(++this.#opened, options, handler);
    const waiting = this.#waiting.shift();
    if (waiting) waiting(stream);
    else this.#streams.push(stream);
    return stream;
  }

  /** The next stream that was or will be opened. */
  async next(): Promise<ScriptedStream> {
    const stream = this.#streams.shift();
    if (stream) return stream;
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  async drain(): Promise<void> {}
}

export class ScriptedStream implements TunnelStream {
  readonly number: number;
  readonly cluster: string;
  readonly target: Target;
  readonly handler: StreamHandler;
  readonly timeoutMs: number | undefined;
  readonly written: Buffer[] = [];
  isFinished = false;
  isStopped = false;
  resetBy: TunnelError | undefined;
  consumedBytes = 0;
  /** What `write` answers. */
  hasRoom = true;
  readonly #watchers = new Set<() => void>();

  constructor(number: number, { cluster, target, timeoutMs }: OpenOptions, handler: StreamHandler) {
    this.number = number;
    this.cluster = cluster;
    this.target = target;
    this.handler = handler;
    this.timeoutMs = timeoutMs;
  }

  get writtenBytes(): number {
    return this.written.reduce((sum, piece) => sum + piece.length, 0);
  }

  get text(): string {
    return Buffer.concat(this.written).toString();
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(Buffer.from(bytes));
    this.#changed();
    return this.hasRoom;
  }

  fin(): void {
    this.isFinished = true;
    this.#changed();
  }

  reset(error: TunnelError): void {
    if (this.resetBy) return;
    this.resetBy = error;
    this.#changed();
    setImmediate(() => this.handler.onClose(error));
  }

  consumed(bytes: number): void {
    this.consumedBytes += bytes;
    this.#changed();
  }

  stopReceiving(): void {
    this.isStopped = true;
    this.#changed();
  }

  /** Brings bytes from the target, which are overwritten as soon as the handler has returned. */
  arrive(bytes: Uint8Array | string): void {
    const lent = Buffer.from(bytes);
    this.handler.onData(lent);
    lent.fill(0xee);
  }

  /** Resolves as soon as `condition` holds after something was done to the stream. */
  async until(condition: (stream: this) => boolean): Promise<void> {
    if (condition(this)) return;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!condition(this)) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
    });
  }

  #changed(): void {
    for (const look of this.#watchers) look();
  }
}
