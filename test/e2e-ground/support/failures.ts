import { performance } from 'node:perf_hooks';
import type { Ground } from '../../../testkit/ground/kubernetes/ground.ts';
import type { RunningLoad } from './client.ts';
import { eventually } from './state.ts';

/** A load prints its counts each second. */
const toldEveryMs = 1000;
const pollMs = 100;

/** Measures for how long requests of a load fail from now on, to the second. */
export class Failures implements Disposable {
  readonly #load: RunningLoad;
  readonly #poll: NodeJS.Timeout;
  #failed: number;
  #firstAtMs: number | undefined;
  #lastAtMs: number | undefined;

  constructor(load: RunningLoad) {
    this.#load = load;
    this.#failed = load.counts.failed;
    this.#poll = setInterval(() => this.#look(), pollMs);
  }

  /** From the report of the first failure to the report of the last. 0 without a failure. */
  get durationMs(): number {
    if (this.#firstAtMs === undefined || this.#lastAtMs === undefined) return 0;
    return this.#lastAtMs - this.#firstAtMs + toldEveryMs;
  }

  /** Waits until the load has had some seconds without a failure. */
  async end(ground: Ground): Promise<void> {
    const startedAtMs = performance.now();
    const isOver = async () => {
      return performance.now() - Math.max(startedAtMs, this.#lastAtMs ?? 0) > 3 * toldEveryMs;
    };
    await eventually(ground, isOver, { what: 'end of failures', timeoutMs: 60_000 });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
  }

  #look(): void {
    const { failed } = this.#load.counts;
    if (failed === this.#failed) return;
    this.#failed = failed;
    this.#firstAtMs ??= performance.now();
    this.#lastAtMs = performance.now();
  }
}
