import { readFile } from 'node:fs/promises';
import { type Clock, type Timer } from '../clock.ts';
import { describeError } from '../error.ts';
import type { Logger } from '../log/logger.ts';

/** How often files are looked at, in milliseconds. Kubernetes swaps them by links, which no watcher sees on every file system. */
const lookEveryMs = 5_000;

export interface ReloadedFilesOptions<T> {
  /** What the files are, for the log: `certificate of --listen`. */
  readonly what: string;
  readonly paths: readonly string[];
  /** Makes a value of what the files hold, in the order of `paths`; throws where it is not usable. */
  readonly make: (contents: readonly string[]) => T | Promise<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lookEveryMs?: number;
}

/** How files that may change are doing, whatever is made of them. */
export interface FileStatus {
  readonly what: string;
  /** How often new contents were taken, and how often they were refused. */
  readonly reloads: number;
  readonly refusals: number;
  /** What the files hold now is not what is used. */
  readonly stale: boolean;
}

/** The same, for files that are looked at until that is disposed of. */
export type ReloadStatus = FileStatus & Disposable;

/**
 * What some files hold, and goes on holding when they change: they are read again every few seconds, all together. Files that do
 * not fit leave the last good value in place, and are tried again when they change.
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

  /** The last good one. */
  get value(): T {
    return this.#value;
  }

  /** `listener` gets each new value; what it throws counts as a value that does not fit. */
  onChange(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  /** Looks now; resolves when what is there has been taken or refused. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  /** Looks no more. Idempotent. */
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
      // Once for each content: a file that stays wrong is no news.
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
