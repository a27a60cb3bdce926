import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { certificateIdOf } from '../base/tls/certificate-id.ts';
import type { CertificateSubject } from './certificate-subject.ts';

/** Certificates whose subject is kept. A client makes a connection for each dial. */
const maxKept = 1_000;

/**
 * Reads the subjects of client certificates. Node takes 0.15 ms for it, so the subjects of the
 * latest certificates are kept. The handshake of each connection still verifies its certificate.
 */
export class CertificateSubjects {
  /** By SHA-256 of the certificate, the longest unused first. */
  readonly #kept = new Map<string, CertificateSubject>();
  /** The last one in `#kept`. */
  #latest: string | undefined;

  /** The subject of the certificate that the client has proven; undefined: it sent none. */
  of(socket: TLSSocket): CertificateSubject | undefined {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    const fingerprint = certificate.fingerprint256;
    const subject = this.#kept.get(fingerprint) ?? readSubject(socket, certificate);
    if (fingerprint === this.#latest) return subject;
    this.#latest = fingerprint;
    this.#kept.delete(fingerprint);
    this.#kept.set(fingerprint, subject);
    if (this.#kept.size > maxKept) this.#kept.delete(this.#kept.keys().next().value!);
    return subject;
  }
}

function readSubject(socket: TLSSocket, certificate: X509Certificate): CertificateSubject {
  const { subject } = socket.getPeerCertificate();
  // A part of the name that occurs several times is an array.
  const named = (values: string | string[] | undefined) =>
    values === undefined ? [] : [values].flat();
  return {
    commonNames: named(subject?.CN),
    organizations: named(subject?.O),
    ...certificateIdOf(certificate),
    expiresAtMs: certificate.validToDate.getTime(),
  };
}
