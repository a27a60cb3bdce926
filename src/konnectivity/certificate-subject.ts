/** The subject of a verified client certificate. */
export interface CertificateSubject {
  /** More than one only in a certificate that no honest CA issues. */
  readonly commonNames: readonly string[];
  readonly organizations: readonly string[];
  /** Lower-case hex without separators or leading zeros. */
  readonly serial: string;
  /** The issuer's name in the order of RFC 4514. */
  readonly issuer: string;
  /** In milliseconds since 1970. */
  readonly expiresAtMs: number;
}
