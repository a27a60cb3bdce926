import { TokenError, type TokenVerifier } from '../base/enrolment-token.ts';
import { AuthenticationError, type Authenticator, type Identity } from './authenticator.ts';

const bearer = /^Bearer +(\S+)$/i;

/** Accepts enrolment tokens in `Authorization: Bearer`. */
export class TokenAuthenticator implements Authenticator {
  readonly #verifier: TokenVerifier;

  constructor(verifier: TokenVerifier) {
    this.#verifier = verifier;
  }

  async authenticate(headers: Headers): Promise<Identity> {
    const token = bearer.exec(headers.get('Authorization') ?? '')?.[1];
    if (token === undefined) {
      throw new AuthenticationError('an enrolment token is needed in Authorization: Bearer');
    }
    try {
      return await this.#verifier.verify(token);
    } catch (thrown) {
      if (!(thrown instanceof TokenError)) throw thrown;
      throw new AuthenticationError(`the token is refused (${thrown.code}): ${thrown.message}`);
    }
  }
}
