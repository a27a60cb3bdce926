import type { X509Certificate } from 'node:crypto';

/** How a list of revoked certificates names a certificate. */
export interface CertificateId {
  /** Lower-case hex without separators or leading zeros. */
  readonly serial: string;
  /** The issuer's name in the order of RFC 4514, such as `CN=people,O=example`. */
  readonly issuer: string;
}

export function certificateIdOf({ serialNumber, issuer }: X509Certificate): CertificateId {
  return {
    serial: serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
    issuer: issuer.split('\n').toReversed().join(','),
  };
}
