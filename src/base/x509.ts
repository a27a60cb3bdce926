// Decorators of the ASN.1 schemas need it, before anything else of the package is loaded.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

// The runtimes name the types of WebCrypto differently.
export type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
export interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

/** What a text is not: it holds no certificate, request or key that can be read. The sentence never holds a key. */
export class X509Error extends Error {
  override readonly name = 'X509Error';
}

/** The parts of a distinguished name that carry identity; each may stand in it several times. */
export interface DistinguishedName {
  /** Empty where there is none, or where there are several: who has two names has proven neither. */
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/** Names besides the subject. */
export interface AlternativeNames {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  /** Those of any other kind (mail addresses, URIs), as `kind:value`. */
  readonly others: readonly string[];
}

export type Purpose = 'serverAuth' | 'clientAuth';

const purposeOids: Readonly<Record<Purpose, string>> = {
  serverAuth: x509.ExtendedKeyUsage.serverAuth,
  clientAuth: x509.ExtendedKeyUsage.clientAuth,
};

const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const;
const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** A certificate that has been read. */
export class Certificate {
  readonly subject: DistinguishedName;
  readonly alternativeNames: AlternativeNames;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** It may issue others. */
  readonly isAuthority: boolean;
  readonly purposes: readonly Purpose[];
  readonly #certificate: x509.X509Certificate;

  /** @throws X509Error the bytes are no certificate */
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

  /** The subject as one line, for sentences. */
  get title(): string {
    return this.#certificate.subject;
  }

  /** The public key (SPKI). */
  get publicKeyDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#certificate.publicKey.rawData);
  }

  /** `authority` has issued this: the name says so, and the signature proves it. Validity is not looked at. */
  async isIssuedBy(authority: Certificate): Promise<boolean> {
    const issuer = authority.#certificate;
    if (
      !sameBytes(this.#certificate.issuerName.toArrayBuffer(), issuer.subjectName.toArrayBuffer())
    )
      return false;
    try {
      return await this.#certificate.verify({ publicKey: issuer.publicKey, signatureOnly: true });
    } catch {
      // The signature is of another kind than the key.
      return false;
    }
  }

  equals(other: Certificate): boolean {
    return sameBytes(this.#certificate.rawData, other.#certificate.rawData);
  }
}

/** Certificates in PEM, in their order. Other blocks are passed over. @throws X509Error there is none, or one cannot be read */
export function parseCertificates(pem: string): readonly Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new X509Error('there is no certificate (PEM) in it');
  const ders = blocks.map((block) => reading('PEM', () => x509.PemConverter.decodeFirst(block)));
  return ders.map((der) => new Certificate(new Uint8Array(der)));
}

/** What somebody asks to have signed. */
export class CertificateRequest {
  readonly subject: DistinguishedName;
  readonly alternativeNames: AlternativeNames;
  readonly #request: x509.Pkcs10CertificateRequest;

  /** @throws X509Error the text is no certificate request */
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

  /** Parts of the subject that `subject` does not hold, as `L=Berlin`; and a common name, where there are several. */
  get otherSubject(): readonly string[] {
    const parts = this.#request.subjectName
      .toJSON()
      .flatMap((part) => Object.entries(part))
      .flatMap(([type, values]) => values.map((value) => ({ type, text: `${type}=${value}` })));
    const names = parts.filter(({ type }) => type === 'CN');
    const others = parts.filter(({ type }) => !['CN', 'O', 'OU'].includes(type));
    return [...(names.length > 1 ? names : []), ...others].map(({ text }) => text);
  }

  /** Whoever made the request has the private key of its public key. */
  async isProven(): Promise<boolean> {
    try {
      return await this.#request.verify();
    } catch {
      return false;
    }
  }

  /** What kind of key it is for, and for RSA how many bits it has. */
  get keyKind(): { readonly name: string; readonly bits: number | undefined } {
    const { name, modulusLength } = this.#request.publicKey.algorithm as {
      readonly name: string;
      readonly modulusLength?: number;
    };
    return { name, bits: modulusLength };
  }

  /** The subject as it is, to the byte. */
  get subjectDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#request.subjectName.toArrayBuffer());
  }

  get publicKeyDer(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#request.publicKey.rawData);
  }
}

export interface CertificateContent {
  /** A name made of its parts, or one that has been read (DER), kept to the byte. */
  readonly subject: Partial<DistinguishedName> | Uint8Array;
  /** SPKI. */
  readonly publicKeyDer: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Undefined: an authority. */
  readonly purposes?: readonly Purpose[];
  readonly alternativeNames?: Pick<AlternativeNames, 'dns' | 'ips'>;
}

/**
 * Issues a certificate, with the key identifiers by which authorities of one name are told apart.
 *
 * @param issuer undefined: it signs itself
 */
export async function issueCertificate(
  content: CertificateContent,
  key: CryptoKey,
  issuer?: Certificate,
): Promise<Certificate> {
  const publicKey = new x509.PublicKey(copyOf(content.publicKeyDer));
  const issuerCertificate = issuer === undefined ? undefined : new x509.X509Certificate(issuer.der);
  const { purposes, alternativeNames } = content;
  const { digitalSignature, keyEncipherment, keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const isAuthority = purposes === undefined;
  const usages = isAuthority
    ? digitalSignature | keyEncipherment | keyCertSign | cRLSign
    : digitalSignature | keyEncipherment;
  const names = [
    ...(alternativeNames?.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(alternativeNames?.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const subject =
    content.subject instanceof Uint8Array
      ? new x509.Name(copyOf(content.subject))
      : new x509.Name(jsonNameOf(content.subject));
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: issuerCertificate?.subjectName ?? subject,
    notBefore: content.notBefore,
    notAfter: content.notAfter,
    publicKey,
    signingKey: key,
    signingAlgorithm: { ...key.algorithm, hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(isAuthority, undefined, true),
      new x509.KeyUsagesExtension(usages, true),
      ...(isAuthority
        ? []
        : [new x509.ExtendedKeyUsageExtension(purposes.map((purpose) => purposeOids[purpose]))]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await authorityKeyIdentifier(issuerCertificate, publicKey),
    ],
  });
  return new Certificate(new Uint8Array(made.rawData));
}

/** RSA has 2048 bits, ECDSA is P-256. */
export async function generateKeys(kind: 'rsa' | 'ecdsa'): Promise<KeyPair> {
  return kind === 'rsa'
    ? await crypto.subtle.generateKey(
        { ...rsa, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
        true,
        ['sign', 'verify'],
      )
    : await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify']);
}

/** A private key of RSA, ECDSA or Ed25519, for signing. @throws X509Error it is not in PKCS#8, or of another kind */
export async function importSigningKey(pkcs8: Uint8Array): Promise<CryptoKey> {
  const curves = ['P-256', 'P-384', 'P-521'].map((namedCurve) => ({ name: 'ECDSA', namedCurve }));
  for (const algorithm of [...curves, rsa, { name: 'Ed25519' }]) {
    try {
      return await crypto.subtle.importKey('pkcs8', copyOf(pkcs8), algorithm, true, ['sign']);
    } catch {
      // Of another kind, or no key at all: WebCrypto must be told which, it cannot be asked.
    }
  }
  throw new X509Error('not a private key of RSA, ECDSA or Ed25519 in PKCS#8');
}

/** The SPKI of a private key that may be exported. */
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

const alternativeNamesOid = '2.5.29.17';

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch {
    // Without the cause: parsers quote what they choke on.
    throw new X509Error(`it cannot be read as ${what}`);
  }
}

function nameOf(name: x509.Name): DistinguishedName {
  const commonNames = name.getField('CN');
  return {
    commonName: commonNames.length === 1 ? commonNames[0]! : '',
    organizations: name.getField('O'),
    organizationalUnits: name.getField('OU'),
  };
}

/** As Go orders them: it is what the other programs in this field are written in. */
function jsonNameOf(name: Partial<DistinguishedName>): x509.JsonName {
  const { commonName, organizations = [], organizationalUnits = [] } = name;
  return [
    ...organizations.map((value) => ({ O: [value] })),
    ...organizationalUnits.map((value) => ({ OU: [value] })),
    ...(commonName === undefined || commonName === '' ? [] : [{ CN: [commonName] }]),
  ];
}

function alternativeNamesOf(
  extension: x509.SubjectAlternativeNameExtension | null,
): AlternativeNames {
  const names = extension?.names.toJSON() ?? [];
  const of = (type: string) => names.filter((name) => name.type === type).map((name) => name.value);
  return {
    dns: of('dns'),
    ips: of('ip'),
    others: names
      .filter(({ type }) => type !== 'dns' && type !== 'ip')
      .map(({ type, value }) => `${type}:${value}`),
  };
}

async function authorityKeyIdentifier(
  issuer: x509.X509Certificate | undefined,
  ownKey: x509.PublicKey,
): Promise<x509.Extension> {
  const stated = issuer?.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return stated === undefined
    ? await x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? ownKey)
    : new x509.AuthorityKeyIdentifierExtension(stated);
}

/** 127 random bits: positive, as the standard wants it. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function sameBytes(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
