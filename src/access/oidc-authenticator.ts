import type { Clock, Timer } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { IssuerKeys } from '../base/tokens/issued-token.ts';
import { AccessError } from './access-error.ts';
import { maxTokenCharacters } from './kube-token-authenticator.ts';
import { oidcUserOf } from './oidc-claims.ts';
import { type OidcOptions, oidcOptionProblems } from './oidc-options.ts';
import type { Subject } from './subject.ts';
import type { TokenAuthenticator } from './token-authenticator.ts';
import { unverifiedToken } from './unverified-token.ts';

/**
 * GETs JSON over verified TLS.
 *
 * @throws Error no answer, another one than 200 with JSON, or more than `maxIssuerAnswerBytes`
 */
export type FetchJson = (url: URL, signal: AbortSignal) => Promise<unknown>;

/** The longest answer of an issuer. A discovery document or a key set has a few kilobytes. */
export const maxIssuerAnswerBytes = 1024 * 1024;

/** For each request to the issuer, in milliseconds. */
const requestTimeoutMs = 15_000;
/** How long after a failed discovery the next one starts, in milliseconds. */
const retryMs = 10_000;
/** How often unknown keys may cause the keys to be read again, in milliseconds. */
const rereadMs = 5_000;

export interface OidcAuthenticatorParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** The time of day (default: the system's). */
  readonly now?: () => Date;
}

/** The keys of the issuer. The URL of the keys is known once the discovery has succeeded. */
interface Discovered {
  readonly keysUrl: URL;
  keys: IssuerKeys;
  readAtMs: number;
}

/** Everything that one CA of the issuer's server has brought. */
interface Attempt {
  readonly fetchJson: FetchJson;
  readonly ended: AbortController;
  found?: Discovered;
  reading?: Promise<void> | undefined;
}

/**
 * Verifies tokens of one OIDC issuer. The discovery runs in the background and is repeated until it
 * succeeds. Without keys no token is accepted (fail closed).
 */
export class OidcAuthenticator implements TokenAuthenticator, Disposable {
  readonly #options: OidcOptions;
  readonly #parts: OidcAuthenticatorParts;
  #attempt: Attempt | undefined;
  #tried: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #problem: string;

  /** @throws AccessError `invalid_options` */
  constructor(options: OidcOptions, parts: OidcAuthenticatorParts) {
    const problems = oidcOptionProblems(options);
    if (problems.length > 0 || options.issuerUrl === '') {
      throw new AccessError('invalid_options', problems.join('; ') || 'there is no OIDC issuer');
    }
    this.#options = options;
    this.#parts = parts;
    this.#problem = `oidc: authenticator for issuer "${options.issuerUrl}" is not initialized`;
  }

  /** The reason why no token can be verified; undefined: tokens can be verified. */
  get unready(): string | undefined {
    return this.#attempt?.found === undefined ? this.#problem : undefined;
  }

  /** Reaches the issuer in this way from now on. Keys that came another way are dropped first. */
  use(fetchJson: FetchJson): void {
    this.disable(`oidc: authenticator for issuer "${this.#options.issuerUrl}" is not initialized`);
    const attempt: Attempt = { fetchJson, ended: new AbortController() };
    this.#attempt = attempt;
    this.#tried = this.#discover(attempt);
  }

  /**
   * Resolves when the first attempt to reach the issuer since `use` has ended, with keys or
   * without.
   */
  get tried(): Promise<void> {
    return this.#tried;
  }

  /** Accepts no token until the next `use`. */
  disable(reason: string): void {
    this.#timer?.cancel();
    this.#attempt?.ended.abort(new AccessError('unavailable', reason));
    this.#attempt = undefined;
    this.#problem = reason;
  }

  [Symbol.dispose](): void {
    this.disable('oidc: the program is shutting down');
  }

  async authenticate(token: string): Promise<Subject | undefined> {
    const { issuerUrl } = this.#options;
    if (token.length > maxTokenCharacters || unverifiedToken(token).iss !== issuerUrl) {
      return undefined;
    }
    const attempt = this.#attempt;
    if (attempt?.found === undefined) throw new AccessError('unavailable', this.#problem);
    const claims = await this.#verify(token, attempt, attempt.found);
    const user =
      claims === undefined ? 'the token is not valid' : oidcUserOf(claims, this.#options);
    if (claims === undefined || typeof user === 'string') {
      this.#parts.log.debug('OIDC token refused', { reason: user });
      return undefined;
    }
    const { jti, exp } = claims;
    return {
      ...user,
      source: 'oidc',
      credential: typeof jti === 'string' && jti !== '' ? { kind: 'token', id: jti } : undefined,
      expiresAtMs: Number(exp) * 1000,
    };
  }

  async #verify(
    token: string,
    attempt: Attempt,
    found: Discovered,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    const { issuerUrl: issuer, clientId: audience, signingAlgs = ['RS256'] } = this.#options;
    const rules = () => ({ issuer, audience, algorithms: signingAlgs, now: this.#now() });
    let answer = await found.keys.verify(token, rules());
    if (answer.kind === 'unknown_key') {
      await this.#reread(attempt, found);
      answer = await found.keys.verify(token, rules());
    }
    // The CA may have been revoked meanwhile.
    if (attempt.ended.signal.aborted) throw new AccessError('unavailable', this.#problem);
    if (answer.kind === 'invalid') {
      this.#parts.log.debug('OIDC token refused', { reason: answer.reason });
    }
    return answer.kind === 'valid' ? answer.claims : undefined;
  }

  /** Reads the keys again, because the issuer may have new ones. Forged tokens share few reads. */
  async #reread(attempt: Attempt, found: Discovered): Promise<void> {
    const { clock } = this.#parts;
    if (attempt.reading === undefined && clock.now() - found.readAtMs >= rereadMs) {
      found.readAtMs = clock.now();
      attempt.reading = this.#readKeys(attempt, found);
    }
    try {
      await attempt.reading;
    } catch (thrown) {
      throw new AccessError('unavailable', `oidc: fetching keys: ${describeError(thrown)}`, {
        cause: thrown,
      });
    }
  }

  async #readKeys(attempt: Attempt, found: Discovered): Promise<void> {
    try {
      found.keys = new IssuerKeys(await this.#fetch(attempt, found.keysUrl));
    } finally {
      attempt.reading = undefined;
    }
  }

  async #discover(attempt: Attempt): Promise<void> {
    const { issuerUrl } = this.#options;
    const { clock, log } = this.#parts;
    try {
      const base = issuerUrl.endsWith('/') ? issuerUrl.slice(0, -1) : issuerUrl;
      const document = await this.#fetch(
        attempt,
        new URL(`${base}/.well-known/openid-configuration`),
      );
      const keysUrl = keysUrlOf(document, issuerUrl);
      const keys = new IssuerKeys(await this.#fetch(attempt, keysUrl));
      if (attempt.ended.signal.aborted) return;
      attempt.found = { keysUrl, keys, readAtMs: clock.now() };
      log.info('OIDC issuer is ready', { url: issuerUrl });
    } catch (thrown) {
      if (attempt.ended.signal.aborted) return;
      log.warn('OIDC issuer is not ready', { url: issuerUrl, error: describeError(thrown) });
      this.#timer = clock.setTimer(retryMs, () => void this.#discover(attempt));
    }
  }

  async #fetch({ fetchJson, ended }: Attempt, url: URL): Promise<unknown> {
    const timeout = new AbortController();
    const timer = this.#parts.clock.setTimer(requestTimeoutMs, () =>
      timeout.abort(new Error(`${url.host} did not answer in time`)),
    );
    try {
      return await fetchJson(url, AbortSignal.any([timeout.signal, ended.signal]));
    } finally {
      timer.cancel();
    }
  }

  #now(): Date {
    return this.#parts.now?.() ?? new Date();
  }
}

/** @throws Error the document is of another issuer, or names no keys */
function keysUrlOf(document: unknown, issuerUrl: string): URL {
  const { issuer, jwks_uri: keys } = (document ?? {}) as {
    readonly issuer?: unknown;
    readonly jwks_uri?: unknown;
  };
  if (issuer !== issuerUrl) {
    throw new Error(`the discovery document is of issuer ${JSON.stringify(issuer)}`);
  }
  const url = typeof keys === 'string' ? URL.parse(keys) : null;
  if (url?.protocol === 'https:') return url;
  throw new Error('the discovery document has no https URL in jwks_uri');
}
