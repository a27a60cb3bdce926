import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { isClusterName } from '../names/cluster-name.ts';
import { Secret } from '../secret.ts';

// The runtimes have different names for the type of a WebCrypto key.
type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/**
 * Reasons to refuse a token that was made with a certificate's key. docs/errors.md explains each
 * code.
 */
export const certificateTokenErrorCodes = [
  'malformed',
  'wrong_algorithm',
  'wrong_signature',
  'expired',
  'not_yet_valid',
  'too_long',
  'wrong_issuer',
  'wrong_audience',
  'bad_claims',
  'bad_key',
] as const;
export type CertificateTokenErrorCode = (typeof certificateTokenErrorCodes)[number];

/** Neither the message nor the cause ever holds the token or a key. */
export class CertificateTokenError extends Error {
  override readonly name = 'CertificateTokenError';
  readonly code: CertificateTokenErrorCode;

  constructor(code: CertificateTokenErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The header of an upgrade request that carries the token. Ingresses and API servers interpret
 * Authorization themselves, but not this header.
 */
export const credentialHeader = 'Culvert-Authorization';

const issuer = 'culvert-agent';
const audience = 'culvert-broker';
const lifetimeSeconds = 60;
const clockToleranceSeconds = 30;
// The size of a leaf and a chain of RSA certificates. Headers of this size pass every proxy.
const maxTokenCharacters = 12_288;
const maxChainLength = 5;

/**
 * Makes a token that proves possession of a certificate's key to a broker that TLS does not reach.
 * The token is valid for 60 s, and only for brokers.
 *
 * @param certificate the certificate of `privateKey`, in DER
 * @param cluster the cluster that the certificate names
 * @throws CertificateTokenError `bad_key` for a key of a kind that no broker accepts
 */
export async function makeCertificateToken(
  privateKey: Key,
  certificate: Uint8Array,
  cluster: string,
  now: Date = new Date(),
): Promise<Secret> {
  const issuedAtSeconds = Math.floor(now.getTime() / 1000);
  const token = await new SignJWT({ sub: cluster })
    .setProtectedHeader({
      alg: algorithmOf(privateKey),
      typ: 'JWT',
      x5c: [toBase64(certificate)],
    })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(issuedAtSeconds)
    .setExpirationTime(issuedAtSeconds + lifetimeSeconds)
    .setJti(crypto.randomUUID())
    .sign(privateKey);
  return new Secret(token);
}

/** The result of `proveChain` for a trusted chain. */
export interface ProvenCertificate {
  readonly publicKeyDer: Uint8Array;
  readonly cluster: string;
}

/**
 * Returns the cluster of a token's owner. The certificate is verified before any claim of the token
 * is read.
 *
 * @param proveChain returns when the certificates of the token (DER, the leaf first) are trusted,
 *   and throws otherwise
 * @throws CertificateTokenError with a code for the reason; any error of `proveChain`
 */
export async function verifyCertificateToken(
  token: string,
  proveChain: (chain: readonly Uint8Array[]) => Promise<ProvenCertificate>,
  now: Date = new Date(),
): Promise<string> {
  const proven = await proveChain(chainOf(token));
  const key = await importPublicKey(proven.publicKeyDer);
  let claims: JWTPayload;
  try {
    const verified = await jwtVerify(token, key, {
      // Only the algorithm of the key is allowed, so that the token cannot choose another one.
      algorithms: [algorithmOf(key)],
      issuer,
      audience,
      requiredClaims: ['exp', 'iat', 'sub'],
      clockTolerance: clockToleranceSeconds,
      currentDate: now,
    });
    claims = verified.payload;
  } catch (thrown) {
    throw asCertificateTokenError(thrown, now);
  }
  return clusterIn(claims, proven.cluster, now);
}

function clusterIn({ sub, iat, exp }: JWTPayload, cluster: string, now: Date): string {
  if (exp! - iat! > lifetimeSeconds) {
    throw new CertificateTokenError(
      'too_long',
      `the token is valid for ${exp! - iat!} s, at most ${lifetimeSeconds} s are taken`,
    );
  }
  if (iat! - now.getTime() / 1000 > clockToleranceSeconds) {
    throw new CertificateTokenError(
      'not_yet_valid',
      `the token was made at ${new Date(iat! * 1000).toISOString()}, and here it is ${now.toISOString()}: the clock of the agent is ahead, or that of the broker behind, by ${Math.round(iat! - now.getTime() / 1000)} s`,
    );
  }
  if (sub === cluster && isClusterName(sub)) return sub;
  throw new CertificateTokenError(
    'bad_claims',
    `the token names another cluster than its certificate, which speaks for ${cluster}`,
  );
}

function chainOf(token: string): readonly Uint8Array[] {
  if (token.length > maxTokenCharacters) {
    throw new CertificateTokenError(
      'malformed',
      `the token has ${token.length} characters, at most ${maxTokenCharacters} are read`,
    );
  }
  try {
    const { x5c } = decodeProtectedHeader(token);
    if (Array.isArray(x5c) && x5c.length > 0 && x5c.length <= maxChainLength) {
      return x5c.map((text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
    }
  } catch {
    throw new CertificateTokenError('malformed', 'what was shown is not a token');
  }
  throw new CertificateTokenError('malformed', 'the token carries no certificate (x5c)');
}

const importAlgorithms = [
  { name: 'ECDSA', namedCurve: 'P-256' },
  { name: 'ECDSA', namedCurve: 'P-384' },
  { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  { name: 'Ed25519' },
];

async function importPublicKey(spki: Uint8Array): Promise<Key> {
  for (const algorithm of importAlgorithms) {
    try {
      return await crypto.subtle.importKey('spki', new Uint8Array(spki), algorithm, false, [
        'verify',
      ]);
    } catch {
      // The key is of another kind. WebCrypto cannot tell the kind of a key, so each kind is tried.
    }
  }
  throw unusableKey();
}

function algorithmOf(key: Key): string {
  const { name, namedCurve } = key.algorithm as { name: string; namedCurve?: string };
  switch (`${name} ${namedCurve ?? ''}`.trim()) {
    case 'RSASSA-PKCS1-v1_5':
      return 'RS256';
    case 'ECDSA P-256':
      return 'ES256';
    case 'ECDSA P-384':
      return 'ES384';
    case 'Ed25519':
      return 'EdDSA';
    default:
      throw unusableKey();
  }
}

function unusableKey(): CertificateTokenError {
  return new CertificateTokenError(
    'bad_key',
    'the key of the certificate is neither RSA, ECDSA (P-256, P-384) nor Ed25519',
  );
}

function asCertificateTokenError(thrown: unknown, now: Date): CertificateTokenError {
  if (thrown instanceof errors.JWTExpired) {
    const at = new Date((thrown.payload.exp ?? 0) * 1000).toISOString();
    const lateS = Math.round(now.getTime() / 1000 - (thrown.payload.exp ?? 0));
    return new CertificateTokenError(
      'expired',
      `the token expired at ${at}, and here it is ${now.toISOString()}: it was late, or the clock of the agent is behind, or that of the broker ahead, by ${lateS} s or more`,
    );
  }
  if (thrown instanceof errors.JWSSignatureVerificationFailed) {
    return new CertificateTokenError(
      'wrong_signature',
      'the token is not signed with the key of its certificate',
    );
  }
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    const { claim } = thrown;
    if (claim === 'iss') {
      return new CertificateTokenError('wrong_issuer', `the token is not of a ${issuer}`);
    }
    if (claim === 'aud') {
      return new CertificateTokenError(
        'wrong_audience',
        `the token is not meant for a ${audience}`,
      );
    }
    if (claim === 'nbf' && thrown.reason === 'check_failed') {
      return new CertificateTokenError('not_yet_valid', 'the token is not valid yet');
    }
    return new CertificateTokenError('bad_claims', `the claim "${claim}" is missing or wrong`);
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) {
    return new CertificateTokenError(
      'wrong_algorithm',
      'the token is signed with another algorithm than that of the key of its certificate',
    );
  }
  return new CertificateTokenError('malformed', 'what was shown is not a token');
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
