// What base has for certificates; the package behind it is imported in x509/library.ts alone.
export { Certificate, parseCertificates, type Purpose } from './x509/certificate.ts';
export { CertificateRequest, makeCertificateRequest } from './x509/certificate-request.ts';
export { issueCertificate, type CertificateContent } from './x509/issue-certificate.ts';
export {
  type CryptoKey,
  exportKeyPem,
  generateKeys,
  importSigningKey,
  type KeyPair,
  publicKeyDerOf,
} from './x509/keys.ts';
export type { AlternativeNames, DistinguishedName } from './x509/names.ts';
export { X509Error } from './x509/reading.ts';
