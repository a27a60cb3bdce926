import { readFile } from 'node:fs/promises';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { MaybePromise } from '../../base/maybe-promise.ts';
import type { Logger } from '../../base/log/logger.ts';
import { parseYaml } from '../../kube/client/parse-yaml.ts';
import type { Action } from '../action.ts';
import { AccessError } from '../access-error.ts';
import { denied, type Verdict } from '../authorizer.ts';
import { Policy, type PolicyParts } from '../policy.ts';
import type { Subject } from '../subject.ts';
import type { WatchedAuthorizer } from '../watched-authorizer.ts';

/** How often the file is read, in milliseconds. */
const lookEveryMs = 5_000;

export interface PolicyFileOptions extends PolicyParts {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * A policy in a file (YAML or JSON), which is read again when it changes. If the file cannot be
 * used, the last good policy stays in force. Before there is a good one, everything is denied.
 */
export class PolicyFile implements WatchedAuthorizer, FileStatus, Disposable {
  readonly what = 'policy file';
  reloads = 0;
  refusals = 0;
  stale = false;
  readonly #options: PolicyFileOptions;
  readonly #listeners: (() => void)[] = [];
  #policy: Policy | undefined;
  /** The text that was read last; undefined: it could not be read. */
  #tried: string | undefined;
  #problem = 'it has not been read yet';
  /** The last failure to use the file. */
  #thrown: unknown;
  #timer: Timer | undefined;
  #isClosed = false;
  #looking: Promise<void> = Promise.resolve();

  private constructor(options: PolicyFileOptions) {
    this.#options = options;
  }

  /**
   * Reads the file. A file that cannot be used is no error here: everything is denied.
   *
   * @throws AccessError `labels_unknown`: no change of the file's surroundings would help
   */
  static async open(options: PolicyFileOptions): Promise<PolicyFile> {
    const file = new PolicyFile(options);
    await file.look();
    const thrown = file.#thrown;
    if (thrown instanceof AccessError && thrown.code === 'labels_unknown') throw thrown;
    file.#plan();
    return file;
  }

  authorize(subject: Subject, cluster: string, action: Action): MaybePromise<Verdict> {
    if (this.#policy !== undefined) return this.#policy.authorize(subject, cluster, action);
    return denied(
      `everything is denied until the policy file ${this.#options.path} can be used: ${this.#problem}`,
    );
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Reads the file now. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #plan(): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.setTimer(lookEveryMs, () => {
      void this.look().finally(() => this.#plan());
    });
  }

  async #look(): Promise<void> {
    const { path, log } = this.#options;
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (thrown) {
      // The same contents count as new when they come back.
      this.#tried = undefined;
      return this.#refused(thrown);
    }
    try {
      if (this.#isClosed || text === this.#tried) return;
      this.#tried = text;
      const isFirst = this.#policy === undefined;
      this.#policy = Policy.parse(parseYaml(text), this.#options);
      this.stale = false;
      if (!isFirst) this.reloads++;
      log.info(isFirst ? 'policy file read' : 'files reloaded', { what: this.what, paths: [path] });
      for (const listener of this.#listeners) listener();
    } catch (thrown) {
      this.#refused(thrown);
    }
  }

  #refused(thrown: unknown): void {
    const error = describeError(thrown);
    this.#thrown = thrown;
    if (this.#isClosed || (this.stale && error === this.#problem)) return;
    this.#problem = error;
    this.stale = true;
    this.refusals++;
    const { path, log } = this.#options;
    log.error(
      this.#policy === undefined
        ? 'the policy file is not usable, everything is denied'
        : 'changed files are not usable, the last good ones stay',
      { what: this.what, paths: [path], error },
    );
  }
}
