/** The subject of a verified client certificate. */
export interface CertificateSubject {
  /** More than one only in a certificate that no honest CA issues. */
  readonly commonNames: readonly string[];
  readonly organizations: readonly string[];
}
