import type { Program } from '../processes/process.ts';

/** Never matches: it is there to be shown every line. */
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

/** As long as a timer can be. */
const foreverMs = 2 ** 31 - 1;

/** Calls `onLine` with every log line of a program that is JSON, those that it has written before too, until `signal` aborts. */
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
      // A line that a kill cut short.
    }
  });
  // It ends with the program or the signal, and both are in order.
  program.waitForLine(watcher, { timeoutMs: foreverMs, signal }).catch(() => {});
}
