import { AccessError } from '../../access/access-error.ts';
import {
  maxIssuerAnswerBytes,
  OidcAuthenticator,
  type OidcAuthenticatorParts,
} from '../../access/oidc-authenticator.ts';
import type { OidcOptions } from '../../access/oidc-options.ts';
import type { Subject } from '../../access/subject.ts';
import type { TokenAuthenticator } from '../../access/token-authenticator.ts';
import { unverifiedToken } from '../../access/unverified-token.ts';
import { boundedText } from './bounded-text.ts';

/**
 * Tokens of an OIDC issuer, for a runtime that forgets the issuer's keys when it sleeps: the first
 * token reads them. Attempts that fail are repeated by the next token and not by a timer, which
 * would keep the runtime awake.
 */
export class EdgeOidc implements TokenAuthenticator {
  readonly #issuerUrl: string;
  readonly #authenticator: OidcAuthenticator;
  readonly #problem: string | undefined;
  #discovering: Promise<void> | undefined;

  /**
   * @param problem the reason why the issuer cannot be used, so that none of its tokens is accepted
   * @throws AccessError `invalid_options`
   */
  constructor(options: OidcOptions, parts: OidcAuthenticatorParts, problem?: string) {
    this.#issuerUrl = options.issuerUrl;
    this.#problem = problem;
    this.#authenticator = new OidcAuthenticator(options, parts);
  }

  async authenticate(token: string): Promise<Subject | undefined> {
    if (unverifiedToken(token).iss !== this.#issuerUrl) return undefined;
    if (this.#problem !== undefined) throw new AccessError('unavailable', this.#problem);
    if (this.#authenticator.unready !== undefined) {
      this.#discovering ??= this.#discover();
      await this.#discovering;
    }
    const { unready } = this.#authenticator;
    if (unready !== undefined) {
      this.#authenticator.disable(unready);
      throw new AccessError('unavailable', unready);
    }
    return await this.#authenticator.authenticate(token);
  }

  async #discover(): Promise<void> {
    try {
      this.#authenticator.use(fetchJson);
      await this.#authenticator.tried;
    } finally {
      this.#discovering = undefined;
    }
  }
}

async function fetchJson(url: URL, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: 'manual', signal });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`${url.host} answered ${response.status}`);
  }
  const text = await boundedText(response, maxIssuerAnswerBytes);
  if (text === undefined) throw new Error(`the answer of ${url.host} is too large`);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Error(`the answer of ${url.host} is not JSON`);
  }
}
