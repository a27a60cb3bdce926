import { readFile } from 'node:fs/promises';
import { type Clock, type Timer } from '../clock.ts';
import { describeError } from '../error.ts';
import type { Logger } from '../log/logger.ts';

/**
 * How often files are checked, in milliseconds. Kubernetes replaces files by swapping links, and
 * not every file system reports such changes to a watcher.
 */
const lookEveryMs = 5_000;

export interface ReloadedFilesOptions<T> {
  /** Describes the files in log lines: `certificate of --listen`. */
  readonly what: string;
  readonly paths: readonly string[];
  /**
   * Makes a value from the contents, in the order of `paths`. Throws when the contents cannot be
   * used.
   */
  readonly make: (contents: readonly string[]) => T | Promise<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lookEveryMs?: number;
}

/** The state of files that may change, for metrics. */
export interface FileStatus {
  readonly what: string;
  /** How often new contents were accepted, and how often they were refused. */
  readonly reloads: number;
  readonly refusals: number;
  /** True when the files hold contents that are not in use. */
  readonly stale: boolean;
}

/** The state of files that are checked until the object is disposed of. */
export type ReloadStatus = FileStatus & Disposable;

/**
 * A value made from the contents of some files. All files are read again every few seconds. When
 * the contents cannot be used, the last good value stays in use, and the next change is tried
 * again.
 */
export class ReloadedFiles<T> implements ReloadStatus {
  readonly what: string;
  reloads = 0;
  refusals = 0;
  stale = false;
  readonly #options: ReloadedFilesOptions<T>;
  readonly #listeners: ((value: T) => void)[] = [];
  #value: T;
  #tried: string;
  #timer: Timer | undefined;
  #closed = false;
  #looking: Promise<void> = Promise.resolve();

  private constructor(options: ReloadedFilesOptions<T>, value: T, tried: string) {
    this.#options = options;
    this.what = options.what;
    this.#value = value;
    this.#tried = tried;
    this.#plan();
  }

  /** @throws Error a file cannot be read; what `make` throws */
  static async open<T>(options: ReloadedFilesOptions<T>): Promise<ReloadedFiles<T>> {
    const contents = await readAll(options.paths);
    return new ReloadedFiles(options, await options.make(contents), keyOf(contents));
  }

  /** The last good value. */
  get value(): T {
    return this.#value;
  }

  /** Calls `listener` with each new value. A value counts as unusable when the listener throws. */
  onChange(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  /** Checks the files now. Resolves when their contents have been accepted or refused. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  /** Stops the checks. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #plan(): void {
    const { clock, lookEveryMs: everyMs = lookEveryMs } = this.#options;
    this.#timer = clock.setTimer(everyMs, () => {
      void this.look().finally(() => {
        if (!this.#closed) this.#plan();
      });
    });
  }

  async #look(): Promise<void> {
    const { what, paths, make, log } = this.#options;
    let key = 'unreadable';
    try {
      const contents = await readAll(paths);
      key = keyOf(contents);
      if (this.#closed || key === this.#tried) return;
      const value = await make(contents);
      for (const listener of this.#listeners) listener(value);
      this.#value = value;
      this.reloads++;
      this.stale = false;
      log.info('files reloaded', { what, paths });
    } catch (thrown) {
      // Contents are tried once, so that unusable contents are logged once and not at each check.
      if (this.#closed || key === this.#tried) return;
      this.refusals++;
      this.stale = true;
      log.error('changed files are not usable, the last good ones stay', {
        what,
        paths,
        error: describeError(thrown),
      });
    }
    this.#tried = key;
  }
}

async function readAll(paths: readonly string[]): Promise<readonly string[]> {
  return await Promise.all(paths.map((path) => readFile(path, 'utf8')));
}

function keyOf(contents: readonly string[]): string {
  return JSON.stringify(contents);
}
