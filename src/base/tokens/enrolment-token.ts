import {
  type CryptoKey,
  errors,
  exportPKCS8,
  exportSPKI,
  generateKeyPair,
  importPKCS8,
  importSPKI,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import { type DialerToken, isCallerName, isTokenId, type TokenSubject } from './token-subject.ts';
import { isClusterName } from '../names/cluster-name.ts';
import { publicKeyBlocks } from './public-key-blocks.ts';
import { Secret } from '../secret.ts';

/** Reasons to refuse a token or a key. docs/errors.md explains each code. */
export const tokenErrorCodes = [
  'malformed',
  'wrong_algorithm',
  'wrong_key',
  'expired',
  'not_yet_valid',
  'wrong_issuer',
  'wrong_audience',
  'bad_claims',
  'bad_key',
] as const;
export type TokenErrorCode = (typeof tokenErrorCodes)[number];

/** Neither the message nor the cause ever holds the token or the key. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
  readonly code: TokenErrorCode;

  constructor(code: TokenErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

// Both ends allow one algorithm only. A verifier that accepts the token's choice could be made to
// use a weaker one.
const algorithm = 'EdDSA';
const issuer = 'culvert';
const audience = 'culvert-broker';
const clockToleranceSeconds = 30;
// Valid tokens have some 300 characters. A longer token is refused without parsing.
const maxTokenCharacters = 4096;

export interface TokenKeyPair {
  /** PKCS#8 PEM. An owner of this key can issue tokens for every cluster. */
  readonly privateKeyPem: Secret;
  /** SPKI PEM, for brokers. */
  readonly publicKeyPem: string;
}

/** A new Ed25519 key pair for `issueToken` and `TokenVerifier`. */
export async function generateTokenKeyPair(): Promise<TokenKeyPair> {
  const pair = await generateKeyPair(algorithm, { extractable: true });
  return {
    privateKeyPem: new Secret(await exportPKCS8(pair.privateKey)),
    publicKeyPem: await exportSPKI(pair.publicKey),
  };
}

/**
 * Makes the token that an agent or dialer shows to a broker.
 *
 * @param ttlMs how long it is valid from `now` (default: the present), in milliseconds
 * @throws TokenError `bad_key` not an Ed25519 private key; `bad_claims` a name that no verifier
 *   would accept
 */
export async function issueToken(
  privateKeyPem: Secret,
  subject: TokenSubject,
  ttlMs: number,
  now: Date = new Date(),
): Promise<Secret> {
  const claims = claimsOf(subject);
  parseSubject(claims);
  const key = await importKey('private', privateKeyPem.reveal());
  const issuedAtSeconds = Math.floor(now.getTime() / 1000);
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(issuedAtSeconds)
    .setExpirationTime(issuedAtSeconds + Math.ceil(ttlMs / 1000))
    .sign(key);
  return new Secret(token);
}

/** Verifies tokens and tells their owners. It holds public keys only. */
export class TokenVerifier {
  readonly #keys: readonly CryptoKey[];
  readonly #now: () => Date;

  private constructor(keys: readonly CryptoKey[], now: () => Date) {
    this.#keys = keys;
    this.#now = now;
  }

  /**
   * Makes a verifier that accepts tokens of any of the keys, so that a new key can be introduced
   * before the old key is removed. One text may hold several keys.
   *
   * @throws TokenError `bad_key` a text is not an Ed25519 public key, or there is no key
   */
  static async fromPem(
    publicKeysPem: readonly string[],
    now: () => Date = () => new Date(),
  ): Promise<TokenVerifier> {
    if (publicKeysPem.length === 0) throw new TokenError('bad_key', 'there is no public key');
    const keys = await Promise.all(
      publicKeysPem.flatMap(publicKeyBlocks).map((pem) => importKey('public', pem)),
    );
    return new TokenVerifier(keys, now);
  }

  /** @throws TokenError with a code for the reason */
  async verify(token: string): Promise<TokenSubject> {
    if (token.length > maxTokenCharacters) {
      throw new TokenError(
        'malformed',
        `the token has ${token.length} characters, at most ${maxTokenCharacters} are read`,
      );
    }
    let failure = new TokenError('wrong_key', 'the token is signed by none of the public keys');
    for (const key of this.#keys) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [algorithm],
          issuer,
          audience,
          requiredClaims: ['exp'],
          clockTolerance: clockToleranceSeconds,
          currentDate: this.#now(),
        });
        return parseSubject(payload);
      } catch (thrown) {
        if (thrown instanceof errors.JWSSignatureVerificationFailed) continue;
        failure = asTokenError(thrown);
        break;
      }
    }
    throw failure;
  }
}

/**
 * A token for some clusters has a subject of its own, because brokers before 0.12 do not know
 * `clusters` and must refuse it.
 */
function claimsOf(subject: TokenSubject): JWTPayload {
  if (subject.kind === 'agent') return { sub: 'agent', cluster: subject.cluster };
  const { name, clusters, selector, isGateway, id: jti = crypto.randomUUID() } = subject;
  if (isGateway === true) return { sub: 'gateway', name, jti };
  if (clusters === undefined && selector === undefined) return { sub: 'dialer', name, jti };
  return {
    ...{ sub: 'scoped-dialer', name, jti },
    ...(clusters === undefined ? {} : { clusters: [...clusters] }),
    ...(selector === undefined ? {} : { selector }),
  };
}

function parseSubject(claims: JWTPayload): TokenSubject {
  const { sub, cluster, name } = claims;
  if (sub === 'agent' && typeof cluster === 'string' && isClusterName(cluster)) {
    return { kind: 'agent', cluster };
  }
  if (typeof name === 'string' && isCallerName(name)) {
    const scope = rightsOf(claims);
    const { jti: id, exp } = claims;
    // Brokers before 0.12 make tokens without an id.
    const hasGoodId = id === undefined || (typeof id === 'string' && isTokenId(id));
    if (scope !== undefined && hasGoodId) {
      return {
        ...{ kind: 'dialer', name, ...scope },
        ...(id === undefined ? {} : { id }),
        ...(exp === undefined ? {} : { expiresAtMs: (exp + clockToleranceSeconds) * 1000 }),
      };
    }
  }
  throw new TokenError(
    'bad_claims',
    'the token needs sub "agent" and the name of a cluster (a DNS label that is no alias), or sub "dialer" or "gateway" and a name without spaces, or sub "scoped-dialer", such a name and a list of clusters or a selector',
  );
}

/** Undefined: `sub` is none of a dialer. */
function rightsOf(
  claims: JWTPayload,
): Pick<DialerToken, 'clusters' | 'selector' | 'isGateway'> | undefined {
  if (claims.sub === 'dialer') return {};
  if (claims.sub === 'gateway') return { isGateway: true };
  return claims.sub === 'scoped-dialer' ? scopeOf(claims) : undefined;
}

/** Undefined: the claims do not limit the token to clusters. */
function scopeOf({
  clusters,
  selector,
}: JWTPayload): Pick<DialerToken, 'clusters' | 'selector'> | undefined {
  const isSelector = typeof selector === 'string' && selector !== '' && selector.length <= 1_000;
  if (clusters === undefined) return isSelector ? { selector } : undefined;
  if (!isScope(clusters) || (selector !== undefined && !isSelector)) return undefined;
  return { clusters, ...(isSelector ? { selector } : {}) };
}

function isScope(clusters: unknown): clusters is readonly string[] {
  return (
    Array.isArray(clusters) &&
    clusters.length > 0 &&
    clusters.every((cluster) => typeof cluster === 'string' && isClusterName(cluster))
  );
}

async function importKey(which: 'private' | 'public', pem: string): Promise<CryptoKey> {
  const other = which === 'public' ? 'PRIVATE' : 'PUBLIC';
  if (pem.includes(`BEGIN ${other} KEY`)) {
    throw new TokenError(
      'bad_key',
      `a ${which} key is needed, this is the ${other.toLowerCase()} one of a pair`,
    );
  }
  try {
    return which === 'public'
      ? await importSPKI(pem, algorithm)
      : await importPKCS8(pem, algorithm);
  } catch {
    // The cause is left out, because parsers quote their input, and here the input is a key.
    throw new TokenError(
      'bad_key',
      `not an Ed25519 ${which} key in PEM (culvert token keygen makes one)`,
    );
  }
}

function asTokenError(thrown: unknown): TokenError {
  if (thrown instanceof TokenError) return thrown;
  if (thrown instanceof errors.JWTExpired) {
    const at = new Date((thrown.payload.exp ?? 0) * 1000).toISOString();
    return new TokenError('expired', `the token expired at ${at}, issue a new one`);
  }
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    const { claim } = thrown;
    if (claim === 'iss') return new TokenError('wrong_issuer', `the token is not of ${issuer}`);
    if (claim === 'aud') {
      return new TokenError('wrong_audience', `the token is not meant for a ${audience}`);
    }
    if (claim === 'nbf' && thrown.reason === 'check_failed') {
      return new TokenError('not_yet_valid', 'the token is not valid yet, compare the clocks');
    }
    return new TokenError('bad_claims', `the claim "${claim}" of the token is missing or wrong`);
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) {
    return new TokenError('wrong_algorithm', `the token is not signed with ${algorithm}`);
  }
  return new TokenError('malformed', 'what was shown is not a token');
}
