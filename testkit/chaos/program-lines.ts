import type { Program } from '../processes/process.ts';

/** A pattern that sees every line and never matches. */
class LineWatcher extends RegExp {
  readonly #onLine: (line: string) => void;

  constructor(onLine: (line: string) => void) {
    super('');
    this.#onLine = onLine;
  }

  override exec(line: string): null {
    this.#onLine(line);
    return null;
  }
}

/** The longest time of a timer. */
const foreverMs = 2 ** 31 - 1;

/**
 * Calls `onLine` with every log line of a program that is JSON, those that it has written before
 * too, until `signal` aborts.
 */
export function watchLog(
  program: Program,
  signal: AbortSignal,
  onLine: (fields: Readonly<Record<string, unknown>>) => void,
): void {
  const watcher = new LineWatcher((line) => {
    if (!line.startsWith('{')) return;
    try {
      onLine(JSON.parse(line) as Record<string, unknown>);
    } catch {
      // A kill has truncated the line.
    }
  });
  // The loop ends with the program or the signal, and both are expected.
  program.waitForLine(watcher, { timeoutMs: foreverMs, signal }).catch(() => {});
}
