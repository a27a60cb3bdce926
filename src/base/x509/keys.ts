import { x509 } from './library.ts';
import { copyOf, X509Error } from './reading.ts';

// The runtimes have different names for the types of WebCrypto.
export type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
export interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const;
const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** Generates a key pair: RSA with 2048 bits, or ECDSA with P-256. */
export async function generateKeys(kind: 'rsa' | 'ecdsa'): Promise<KeyPair> {
  return kind === 'rsa'
    ? await crypto.subtle.generateKey(
        { ...rsa, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
        true,
        ['sign', 'verify'],
      )
    : await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify']);
}

/**
 * Imports a private key of RSA, ECDSA or Ed25519, for signing.
 *
 * @throws X509Error the key is not in PKCS#8, or of another kind
 */
export async function importSigningKey(pkcs8: Uint8Array): Promise<CryptoKey> {
  const curves = ['P-256', 'P-384', 'P-521'].map((namedCurve) => ({ name: 'ECDSA', namedCurve }));
  for (const algorithm of [...curves, rsa, { name: 'Ed25519' }]) {
    try {
      return await crypto.subtle.importKey('pkcs8', copyOf(pkcs8), algorithm, true, ['sign']);
    } catch {
      // The key is of another kind, or the bytes are no key. WebCrypto cannot tell the kind of a
      // key, so each kind is tried.
    }
  }
  throw new X509Error('not a private key of RSA, ECDSA or Ed25519 in PKCS#8');
}

/** The SPKI of an exportable private key. */
export async function publicKeyDerOf(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  const {
    d: _d,
    p: _p,
    q: _q,
    dp: _dp,
    dq: _dq,
    qi: _qi,
    ...jwk
  } = await crypto.subtle.exportKey('jwk', key);
  const algorithm = { ...key.algorithm, hash: 'SHA-256' };
  const publicKey = await crypto.subtle.importKey(
    'jwk',
    { ...jwk, key_ops: ['verify'] },
    algorithm,
    true,
    ['verify'],
  );
  return new Uint8Array(await crypto.subtle.exportKey('spki', publicKey));
}

/** PKCS#8 in PEM. */
export async function exportKeyPem(key: CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}
