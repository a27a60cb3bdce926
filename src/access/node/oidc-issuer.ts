import { readFile } from 'node:fs/promises';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { OidcAuthenticator } from '../oidc-authenticator.ts';
import type { OidcOptions } from '../oidc-options.ts';
import type { TokenAuthenticator } from '../token-authenticator.ts';
import { fetchJsonWith } from './fetch-json.ts';

/** How often the CA file is read, in milliseconds. */
const lookEveryMs = 5_000;

export interface OidcIssuerParts {
  /** CAs of the issuer's server; undefined: the well-known CAs. */
  readonly caFile: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * An OIDC issuer whose CA is in a file. The file can appear later and can change. While the file is
 * missing or not usable, no token of the issuer is accepted. The CA that was read before is not used
 * either (fail closed).
 */
export class OidcIssuer implements TokenAuthenticator, Disposable {
  readonly #authenticator: OidcAuthenticator;
  readonly #parts: OidcIssuerParts;
  #timer: Timer | undefined;
  #tried: string | undefined;
  #isClosed = false;

  /** @throws AccessError `invalid_options` */
  constructor(options: OidcOptions, parts: OidcIssuerParts) {
    this.#parts = parts;
    this.#authenticator = new OidcAuthenticator(options, parts);
    if (parts.caFile === undefined) this.#authenticator.use(fetchJsonWith(undefined));
    else void this.#lookAgain();
  }

  /** The reason why no token can be verified; undefined: tokens can be verified. */
  get unready(): string | undefined {
    return this.#authenticator.unready;
  }

  authenticate(token: string): ReturnType<OidcAuthenticator['authenticate']> {
    return this.#authenticator.authenticate(token);
  }

  /** Reads the CA file now. */
  async look(): Promise<void> {
    const { caFile: path, log } = this.#parts;
    if (path === undefined) return;
    const read = await readFile(path, 'utf8').catch(describeUnreadable);
    const key = JSON.stringify(read);
    if (this.#isClosed || key === this.#tried) return;
    this.#tried = key;
    try {
      if (typeof read !== 'string') throw new Error(read.problem);
      this.#authenticator.use(fetchJsonWith(read));
    } catch (thrown) {
      const error = describeError(thrown);
      this.#authenticator.disable(`the CA of the OIDC issuer in ${path} cannot be used: ${error}`);
      log.error('OIDC issuer is off until its CA can be used', { paths: [path], error });
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#authenticator[Symbol.dispose]();
  }

  async #lookAgain(): Promise<void> {
    await this.look();
    if (this.#isClosed) return;
    this.#timer = this.#parts.clock.setTimer(lookEveryMs, () => void this.#lookAgain());
  }
}

function describeUnreadable(thrown: unknown): { readonly problem: string } {
  return { problem: describeError(thrown) };
}
