import { anonymousSubject, type Subject } from '../access/subject.ts';
import type { CertificateSubject } from '../konnectivity/certificate-subject.ts';

/**
 * The subject of a client with this certificate; undefined: the listener asks for none. A
 * certificate with several common names has no name that a rule could mean.
 */
export function subjectOfClient(certificate: CertificateSubject | undefined): Subject {
  if (certificate === undefined) return anonymousSubject;
  const { commonNames, organizations, serial, issuer, expiresAtMs } = certificate;
  const [user = ''] = commonNames.length === 1 ? commonNames : [];
  return {
    user,
    groups: organizations,
    source: 'client-certificate',
    credential: { kind: 'certificate', serial, issuer },
    expiresAtMs,
  };
}
