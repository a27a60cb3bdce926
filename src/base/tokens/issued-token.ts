import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';

/** The algorithms that the tokens of an issuer may have. All are asymmetric. */
export const issuedTokenAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
] as const;

/** As in go-oidc, which the kube-apiserver uses: `nbf` may be this far in the future. */
const notBeforeToleranceS = 300;

export interface IssuedTokenRules {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly now: Date;
}

/** `unknown_key`: none of the keys is the one that the token names. */
export type IssuedTokenAnswer =
  | { readonly kind: 'valid'; readonly claims: Readonly<Record<string, unknown>> }
  | { readonly kind: 'unknown_key' }
  | { readonly kind: 'invalid'; readonly reason: string };

/** The public keys of an issuer (RFC 7517). */
export class IssuerKeys {
  readonly #keyOf: ReturnType<typeof createLocalJWKSet>;

  /** @throws Error the value is no key set */
  constructor(keySet: unknown) {
    this.#keyOf = createLocalJWKSet(keySet as JSONWebKeySet);
  }

  /** Verifies signature, issuer, audience and time of a token. It never throws. */
  async verify(token: string, rules: IssuedTokenRules): Promise<IssuedTokenAnswer> {
    const options = {
      issuer: rules.issuer,
      audience: rules.audience,
      algorithms: [...rules.algorithms],
      requiredClaims: ['exp'],
      clockTolerance: notBeforeToleranceS,
      currentDate: rules.now,
    };
    try {
      const { payload } = await jwtVerify(token, this.#keyOf, options);
      return checked(payload, rules.now);
    } catch (thrown) {
      if (thrown instanceof errors.JWKSMultipleMatchingKeys) {
        // The token names no key, so each key of its algorithm is tried.
        for await (const key of thrown) {
          const answer = await jwtVerify(token, key, options).then(
            ({ payload }) => checked(payload, rules.now),
            () => undefined,
          );
          if (answer !== undefined) return answer;
        }
        return { kind: 'invalid', reason: 'it is signed by none of the keys' };
      }
      if (thrown instanceof errors.JWKSNoMatchingKey) return { kind: 'unknown_key' };
      // The messages of the library never quote the token.
      return { kind: 'invalid', reason: thrown instanceof Error ? thrown.message : 'unreadable' };
    }
  }
}

/** The tolerance is not for `exp`. */
function checked(payload: JWTPayload, now: Date): IssuedTokenAnswer {
  return (payload.exp ?? 0) * 1000 > now.getTime()
    ? { kind: 'valid', claims: payload }
    : { kind: 'invalid', reason: 'it has expired' };
}
