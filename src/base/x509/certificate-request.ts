import type { KeyPair } from './keys.ts';
import { x509 } from './library.ts';
import {
  type AlternativeNames,
  alternativeNamesOf,
  type DistinguishedName,
  jsonNameOf,
  nameOf,
} from './names.ts';
import { reading, X509Error } from './reading.ts';

const alternativeNamesOid = '2.5.29.17';

/** A certificate request that has been read. */
export class CertificateRequest {
  readonly subject: DistinguishedName;
  readonly alternativeNames: AlternativeNames;
  readonly #request: x509.Pkcs10CertificateRequest;

  /** @throws X509Error the text is not a certificate request */
  constructor(pem: string) {
    if (!/^\s*-----BEGIN CERTIFICATE REQUEST-----/.test(pem)) {
      throw new X509Error('it does not begin with BEGIN CERTIFICATE REQUEST');
    }
    const what = 'a certificate request';
    this.#request = reading(what, () => new x509.Pkcs10CertificateRequest(pem.trim()));
    const request = this.#request;
    this.subject = reading(what, () => nameOf(request.subjectName));
    this.alternativeNames = reading(what, () => {
      const names = request.extensions.find(({ type }) => type === alternativeNamesOid);
      return alternativeNamesOf(
        names === undefined ? null : new x509.SubjectAlternativeNameExtension(names.rawData),
      );
    });
  }

  /**
   * Parts of the subject that `subject` does not hold, as `L=Berlin`. They include the common names
   * when there are several.
   */
  get otherSubject(): readonly string[] {
    const parts = this.#request.subjectName
      .toJSON()
      .flatMap((part) => Object.entries(part))
      .flatMap(([type, values]) => values.map((value) => ({ type, text: `${type}=${value}` })));
    const names = parts.filter(({ type }) => type === 'CN');
    const others = parts.filter(({ type }) => !['CN', 'O', 'OU'].includes(type));
    return [...(names.length > 1 ? names : []), ...others].map(({ text }) => text);
  }

  /**
   * Whether the signature proves that the requester has the private key of the request's public
   * key.
   */
  async isProven(): Promise<boolean> {
    try {
      return await this.#request.verify();
    } catch {
      return false;
    }
  }

  /** The kind of the public key, and the number of bits of an RSA key. */
  get keyKind(): { readonly name: string; readonly bits: number | undefined } {
    const { name, modulusLength } = this.#request.publicKey.algorithm as {
      readonly name: string;
      readonly modulusLength?: number;
    };
    return { name, bits: modulusLength };
  }

  /** The bytes of the subject, unchanged. */
  get subjectDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#request.subjectName.toArrayBuffer());
  }

  get publicKeyDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#request.publicKey.rawData);
  }
}

/** A certificate request in PEM, signed by `keys`. */
export async function makeCertificateRequest(
  subject: Partial<DistinguishedName>,
  keys: KeyPair,
  dnsNames: readonly string[] = [],
): Promise<string> {
  const names = dnsNames.map((value) => ({ type: 'dns' as const, value }));
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: new x509.Name(jsonNameOf(subject)),
    keys,
    signingAlgorithm: { ...keys.privateKey.algorithm, hash: 'SHA-256' },
    extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
  });
  return `${request.toString('pem')}\n`;
}
