import { createPrivateKey } from 'node:crypto';
import {
  type Certificate,
  type CryptoKey,
  exportKeyPem,
  generateKeys,
  importSigningKey,
  issueCertificate,
  parseCertificates,
  publicKeyDerOf,
  X509Error,
} from '../../base/x509/index.ts';
import { dayMs, validity } from './lifetimes.ts';

/** A CA that can sign. */
export interface Authority {
  readonly certificate: Certificate;
  /** The exact bytes in the Secret, because other programs hash them. */
  readonly certPem: string;
  readonly keyPem: string;
  readonly key: CryptoKey;
}

const authorityLifetimeMs = 3652 * dayMs;

/** `rsa` (2048 bits) for a CA with which Cluster Proxy must be able to sign after a rollback. */
export type AuthorityKind = 'rsa' | 'ecdsa';

export async function makeAuthority(commonName: string, kind: AuthorityKind, now: Date) {
  const { privateKey } = await generateKeys(kind);
  const content = {
    subject: { commonName },
    publicKeyDer: await publicKeyDerOf(privateKey),
    ...validity(now, authorityLifetimeMs),
  };
  const certificate = await issueCertificate(content, privateKey);
  const keyPem = await exportKeyPem(privateKey);
  return { certificate, certPem: certificate.pem, keyPem, key: privateKey };
}

/**
 * Reads a CA in PEM. The key may be PKCS#8, PKCS#1 or SEC 1.
 *
 * @throws X509Error the CA cannot be used. The message never contains the key.
 */
export async function readAuthority(certPem: string | undefined, keyPem: string | undefined) {
  if (certPem === undefined) throw new X509Error('it has no certificate');
  if (keyPem === undefined) throw new X509Error('it has no key');
  return { ...(await readPair(certPem, keyPem, true)), certPem, keyPem };
}

/** A certificate and its key, in PEM. @throws X509Error */
export async function readPair(certPem: string, keyPem: string, isAuthority = false) {
  const certificate = parseCertificates(certPem)[0]!;
  if (isAuthority && !certificate.isAuthority) {
    throw new X509Error('its certificate is not one of a CA');
  }
  const key = await readPrivateKey(keyPem);
  if (!Buffer.from(certificate.publicKeyDer).equals(await publicKeyDerOf(key))) {
    throw new X509Error('its key belongs to another certificate');
  }
  return { certificate, key };
}

async function readPrivateKey(pem: string): Promise<CryptoKey> {
  let pkcs8: Buffer;
  try {
    pkcs8 = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  } catch {
    // There is no `cause`, because parsers quote their input, and this input is a key.
    throw new X509Error('its key is no private key (PEM)');
  }
  return await importSigningKey(pkcs8);
}

/** The result of `read`. Undefined: it threw an X509Error. */
export async function readable<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (thrown) {
    if (thrown instanceof X509Error) return undefined;
    throw thrown;
  }
}
