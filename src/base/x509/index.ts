// The functions of base for certificates. Only x509/library.ts imports the package behind them.
export { Certificate, parseCertificates, type Purpose } from './certificate.ts';
export { CertificateRequest, makeCertificateRequest } from './certificate-request.ts';
export { issueCertificate, type CertificateContent } from './issue-certificate.ts';
export {
  type CryptoKey,
  exportKeyPem,
  generateKeys,
  importSigningKey,
  type KeyPair,
  publicKeyDerOf,
} from './keys.ts';
export type { AlternativeNames, DistinguishedName } from './names.ts';
export { X509Error } from './reading.ts';
