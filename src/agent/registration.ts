import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificateToken } from '../base/tokens/certificate-token.ts';
import { describeError } from '../base/error.ts';
import { Secret } from '../base/secret.ts';
import type { ClientCertificate } from '../base/net/connect-tls.ts';

/**
 * The certificate and key that the registration with the hub has put into a directory, as they are
 * now.
 */
export interface Registration {
  /** For the TLS handshake. */
  readonly certificate: ClientCertificate;
  /** For the header, where TLS does not reach the broker. */
  makeToken(this: void, cluster: string, now: Date): Promise<Secret>;
}

/** No usable certificate is there; the sentence names the directory. */
export class RegistrationError extends Error {
  override readonly name = 'RegistrationError';
}

const attempts = 2;

/** The files of a certificate and its key. */
export interface RegistrationFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The files that the registration with the hub puts into a directory. */
export function registrationFilesIn(directory: string): RegistrationFiles {
  return { certFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') };
}

/**
 * Reads a certificate and its key.
 *
 * @throws RegistrationError they are not there (yet), or do not belong together
 */
export async function readRegistration({
  certFile,
  keyFile,
}: RegistrationFiles): Promise<Registration> {
  for (let attempt = 1; ; attempt++) {
    try {
      return registrationOf(await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8'));
    } catch (cause) {
      // Read while they were being replaced, the two may be of different age.
      if (attempt < attempts) continue;
      throw new RegistrationError(
        `no certificate of the registration in ${certFile} (${describeError(cause)}); is the add-on registered with the hub?`,
        { cause },
      );
    }
  }
}

function registrationOf(cert: string, keyPem: string): Registration {
  const leaf = new X509Certificate(cert);
  const key = privateKeyOf(keyPem);
  if (!leaf.checkPrivateKey(key)) throw new Error('tls.key is not the key of tls.crt');
  return {
    certificate: { cert, key: new Secret(keyPem) },
    async makeToken(cluster, now) {
      return await makeCertificateToken(toWebCrypto(key), leaf.raw, cluster, now);
    },
  };
}

function privateKeyOf(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    // Without the cause, because parsers quote the text that they cannot read, and this is a key.
    throw new Error('tls.key is no private key (PEM)');
  }
}

function toWebCrypto(key: ReturnType<typeof createPrivateKey>) {
  const { namedCurve } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec': {
      const curve = namedCurve === 'secp384r1' ? 'P-384' : 'P-256';
      return key.toCryptoKey({ name: 'ECDSA', namedCurve: curve }, false, ['sign']);
    }
    case 'ed25519':
      return key.toCryptoKey('Ed25519', false, ['sign']);
    default:
      return key.toCryptoKey({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign']);
  }
}
