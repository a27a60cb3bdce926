/** The part of a stream that the output uses. `process.stdout` has it. */
export interface LogStream {
  readonly writableLength: number;
  write(text: string, written: () => void): unknown;
  on(event: 'error', listener: () => void): unknown;
}

export interface LogOutputOptions {
  /** Characters that may wait for the stream (default 1 MiB). Further lines are dropped. */
  readonly maxQueuedLength?: number;
  /**
   * Makes the line that reports the number of dropped lines. It is written when the stream has room
   * again.
   */
  readonly dropNotice: (lines: number) => string;
}

const defaultMaxQueuedLength = 1024 * 1024;

/**
 * Writes lines to a stream whose reader may have stopped reading. It never waits: lines that do not
 * fit are dropped and counted. A stream that has room takes a line before `write` returns, so the
 * last lines of a process are not lost.
 */
export class LogOutput {
  readonly #stream: LogStream;
  readonly #maxQueuedLength: number;
  readonly #dropNotice: (lines: number) => string;
  #droppedTotal = 0;
  /** Lines that were dropped since the last notice. */
  #droppedNow = 0;
  readonly #written = (): void => this.#tellDropped();

  constructor(stream: LogStream, options: LogOutputOptions) {
    this.#stream = stream;
    this.#maxQueuedLength = options.maxQueuedLength ?? defaultMaxQueuedLength;
    this.#dropNotice = options.dropNotice;
    // The reader of the log has gone, so the error cannot be logged. Without a listener it would
    // end the process.
    stream.on('error', () => {});
  }

  /** Lines that were dropped since the process started. */
  get droppedLines(): number {
    return this.#droppedTotal;
  }

  write(line: string): void {
    if (this.#stream.writableLength + line.length > this.#maxQueuedLength) {
      this.#droppedTotal++;
      this.#droppedNow++;
      return;
    }
    this.#stream.write(line, this.#written);
  }

  #tellDropped(): void {
    if (this.#droppedNow === 0) return;
    // With half of the queue free, the lines after the notice have room too.
    if (this.#stream.writableLength > this.#maxQueuedLength / 2) return;
    const lines = this.#droppedNow;
    this.#droppedNow = 0;
    this.#stream.write(this.#dropNotice(lines), this.#written);
  }
}

let standardOutput: LogOutput | undefined;

/**
 * The output of this process. All loggers share it, because the limit applies to the process. A
 * pipe or a socket as `process.stdout` is asynchronous, and its file descriptor becomes so too.
 * Files and terminals are written synchronously.
 */
export function standardLogOutput(): LogOutput {
  standardOutput ??= new LogOutput(process.stdout, { dropNotice });
  return standardOutput;
}

/** The help text of the metric of `droppedLogLines`, in every program. */
export const droppedLinesHelp = 'Log lines that were dropped because nobody read the output';

/** The number of lines that this process dropped because its output was not read. */
export function droppedLogLines(): number {
  return standardOutput?.droppedLines ?? 0;
}

function dropNotice(lines: number): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ level: 'warn', time, event: 'log lines were dropped', lines })}\n`;
}
