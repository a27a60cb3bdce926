import { type Profiler, Session } from 'node:inspector';

/**
 * Counts how often the blocks of some files run: a measure of work that does not depend on the load
 * of the machine. Work of the runtime itself, such as a regular expression, is not counted. Only
 * functions that first run after the counter was made have their blocks counted.
 */
export class StepCounter implements Disposable {
  readonly #session = new Session();
  readonly #files: RegExp;

  /** @param files matches the URLs of the files that count */
  constructor(files: RegExp) {
    this.#files = files;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** The steps of `run`. */
  count(run: () => void): number {
    this.#take();
    run();
    let steps = 0;
    for (const { url, functions } of this.#take()) {
      if (!this.#files.test(url)) continue;
      for (const { ranges } of functions) {
        for (const { count } of ranges) steps += count;
      }
    }
    return steps;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }

  /** What ran since the last call. */
  #take(): readonly Profiler.ScriptCoverage[] {
    let result: readonly Profiler.ScriptCoverage[] = [];
    // The answer of a session in the same thread is there when `post` returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error !== null) throw error;
      ({ result } = answer);
    });
    return result;
  }
}
