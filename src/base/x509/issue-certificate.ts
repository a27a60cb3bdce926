import { Certificate, type Purpose, purposeOids } from './certificate.ts';
import type { CryptoKey } from './keys.ts';
import { x509 } from './library.ts';
import { type AlternativeNames, type DistinguishedName, jsonNameOf } from './names.ts';
import { copyOf } from './reading.ts';

export interface CertificateContent {
  /** A name made of its parts, or the unchanged bytes of a name that was read (DER). */
  readonly subject: Partial<DistinguishedName> | Uint8Array;
  /** SPKI. */
  readonly publicKeyDer: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Undefined for a CA. */
  readonly purposes?: readonly Purpose[];
  readonly alternativeNames?: Pick<AlternativeNames, 'dns' | 'ips'>;
}

/**
 * Issues a certificate. Its key identifiers distinguish CAs that have the same name.
 *
 * @param issuer undefined for a self-signed certificate
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

async function authorityKeyIdentifier(
  issuer: x509.X509Certificate | undefined,
  ownKey: x509.PublicKey,
): Promise<x509.Extension> {
  const stated = issuer?.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return stated === undefined
    ? await x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? ownKey)
    : new x509.AuthorityKeyIdentifierExtension(stated);
}

/** 127 random bits, because RFC 5280 requires a positive number. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
