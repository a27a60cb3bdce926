import { readFile } from 'node:fs/promises';
import { readCaCertificates } from './ca-certificates.ts';
import { describeError } from '../error.ts';
import { type Logger, silentLogger } from '../log/logger.ts';
import type { FileStatus } from '../files/reloaded-files.ts';
import { X509Error } from '../x509/reading.ts';

/**
 * CA certificates for servers that are read again each time they are needed, such as `--ca-file` at
 * each connect. A version that cannot be used is logged once, and the last good version stays in
 * use.
 */
export class LastGoodCa implements FileStatus {
  readonly what: string;
  reloads = 0;
  refusals = 0;
  stale = false;
  readonly #log: Logger;
  #good: string | undefined;
  /** The text that was read last, or the reason why it could not be read. */
  #tried: string | undefined;
  #path: string | undefined;

  /** @param what for log lines and errors: `--ca-file` */
  constructor(what: string, log: Logger = silentLogger) {
    this.what = what;
    this.#log = log;
  }

  /**
   * @returns PEM
   * @throws X509Error the file has invalid contents, and there has been no good version of it
   * @throws Error the file cannot be read, and there has been no good version of it
   */
  async readFile(path: string): Promise<string> {
    this.#path = path;
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (thrown) {
      if (this.#good === undefined) {
        const message = `${this.what}=${path} cannot be read: ${describeError(thrown)}`;
        throw new Error(message, { cause: thrown });
      }
      return this.#refused(`unreadable: ${describeError(thrown)}`, path, describeError(thrown));
    }
    return this.take(text, path);
  }

  /**
   * Reads the file again, if it has been read before. Call it before reporting the state of the
   * file.
   */
  async look(): Promise<void> {
    // The next connect reports the error.
    if (this.#path !== undefined) await this.readFile(this.#path).catch(() => {});
  }

  /**
   * Does the same as `readFile` for a text that has already been read.
   *
   * @param from the source of the text: the path of a file, or a field of it
   */
  take(text: string, from: string): string {
    if (text === this.#tried && this.#good !== undefined) return this.#good;
    let pem: string;
    try {
      pem = readCaCertificates(text, 'servers');
    } catch (thrown) {
      return this.#refused(text, from, describeError(thrown));
    }
    if (this.#good !== undefined) {
      this.reloads++;
      this.#log.info('files reloaded', { what: this.what, paths: [from] });
    }
    this.stale = false;
    this.#tried = text;
    this.#good = pem;
    return pem;
  }

  #refused(tried: string, from: string, error: string): string {
    if (this.#good === undefined) {
      throw new X509Error(`${this.what}=${from} cannot be used: ${error}`);
    }
    if (tried === this.#tried) return this.#good;
    this.#tried = tried;
    this.stale = true;
    this.refusals++;
    this.#log.error('changed files are not usable, the last good ones stay', {
      what: this.what,
      paths: [from],
      error,
    });
    return this.#good;
  }
}
