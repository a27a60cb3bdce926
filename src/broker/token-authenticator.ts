import { TokenError, type TokenVerifier } from '../base/tokens/enrolment-token.ts';
import {
  AuthenticationError,
  type Authenticator,
  bearerToken,
  type Identity,
} from './authenticator.ts';

/** Accepts enrolment tokens in `Authorization: Bearer`. */
export class TokenAuthenticator implements Authenticator {
  readonly #verifier: () => TokenVerifier;

  /**
   * @param verifier checks tokens with the current keys. A function returns the verifier of the
   *   moment, because keys may change while the broker runs.
   */
  constructor(verifier: TokenVerifier | (() => TokenVerifier)) {
    this.#verifier = typeof verifier === 'function' ? verifier : () => verifier;
  }

  async authenticate(headers: Headers): Promise<Identity> {
    const token = bearerToken(headers.get('Authorization'));
    if (token === undefined) {
      throw new AuthenticationError('an enrolment token is needed in Authorization: Bearer');
    }
    try {
      return await this.#verifier().verify(token);
    } catch (thrown) {
      if (!(thrown instanceof TokenError)) throw thrown;
      throw new AuthenticationError(`the token is refused (${thrown.code}): ${thrown.message}`);
    }
  }
}
