import { x509 } from './library.ts';
import {
  type AlternativeNames,
  alternativeNamesOf,
  type DistinguishedName,
  nameOf,
} from './names.ts';
import { pemBlocks } from './pem-blocks.ts';
import { copyOf, reading, X509Error } from './reading.ts';

export type Purpose = 'serverAuth' | 'clientAuth';

export const purposeOids: Readonly<Record<Purpose, string>> = {
  serverAuth: x509.ExtendedKeyUsage.serverAuth,
  clientAuth: x509.ExtendedKeyUsage.clientAuth,
};

/** A certificate that has been read. */
export class Certificate {
  readonly subject: DistinguishedName;
  readonly alternativeNames: AlternativeNames;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Whether the certificate is one of a CA. */
  readonly isAuthority: boolean;
  readonly purposes: readonly Purpose[];
  readonly #certificate: x509.X509Certificate;

  /** @throws X509Error the bytes are not a certificate */
  constructor(der: Uint8Array) {
    this.#certificate = reading('a certificate', () => new x509.X509Certificate(copyOf(der)));
    const certificate = this.#certificate;
    this.notBefore = certificate.notBefore;
    this.notAfter = certificate.notAfter;
    this.subject = reading('a certificate', () => nameOf(certificate.subjectName));
    this.alternativeNames = reading('a certificate', () =>
      alternativeNamesOf(certificate.getExtension(x509.SubjectAlternativeNameExtension)),
    );
    this.isAuthority = certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true;
    const usages = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String);
    this.purposes = (['serverAuth', 'clientAuth'] as const).filter((purpose) =>
      usages?.includes(purposeOids[purpose]),
    );
  }

  get der(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#certificate.rawData);
  }

  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`;
  }

  /** The subject as one line, for messages. */
  get title(): string {
    return this.#certificate.subject;
  }

  /** The public key (SPKI). */
  get publicKeyDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#certificate.publicKey.rawData);
  }

  /**
   * Whether `authority` has issued this certificate: the issuer's name matches, and the signature
   * is valid. The validity period is not checked.
   */
  async isIssuedBy(authority: Certificate): Promise<boolean> {
    const issuer = authority.#certificate;
    if (
      !sameBytes(this.#certificate.issuerName.toArrayBuffer(), issuer.subjectName.toArrayBuffer())
    )
      return false;
    try {
      return await this.#certificate.verify({ publicKey: issuer.publicKey, signatureOnly: true });
    } catch {
      // The signature's algorithm does not fit the key.
      return false;
    }
  }

  equals(other: Certificate): boolean {
    return sameBytes(this.#certificate.rawData, other.#certificate.rawData);
  }
}

/**
 * Reads the certificates of a PEM text, in their order. Blocks of other kinds are skipped.
 *
 * @throws X509Error there is no certificate, or a block cannot be read
 */
export function parseCertificates(pem: string): readonly Certificate[] {
  const blocks = pemBlocks(pem).filter(({ label }) => label === 'CERTIFICATE');
  if (blocks.length === 0) throw new X509Error('there is no certificate (PEM) in it');
  return blocks.map(({ der }) => new Certificate(der));
}

function sameBytes(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}
