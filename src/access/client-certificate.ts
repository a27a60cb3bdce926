import { AccessError } from './access-error.ts';
import type { CertificateIdentity } from './request-authenticator.ts';
import type { Subject } from './subject.ts';
import { isName } from './token-review.ts';

/**
 * The subject of a client certificate: its common name is the user, and its organizations are the
 * groups, as in Kubernetes. The prefix `system:` is reserved, because the CA of these certificates
 * is not the CA of the managed cluster.
 *
 * @throws AccessError `unauthenticated` the certificate names no user or several, or a reserved name
 */
export function subjectOfCertificate(identity: CertificateIdentity): Subject {
  const { commonNames, organizations, serial, issuer, expiresAtMs } = identity;
  const [user = ''] = commonNames;
  if (commonNames.length !== 1 || user === '') {
    throw refused('the client certificate needs exactly one common name');
  }
  const names = [user, ...organizations];
  if (!names.every(isName)) throw refused('a name in the client certificate cannot be used');
  if (names.some((name) => name.toLowerCase().startsWith('system:'))) {
    throw refused('a name in the client certificate has the reserved prefix system:');
  }
  return {
    user,
    groups: organizations,
    source: 'client-certificate',
    credential: { kind: 'certificate', serial, issuer },
    expiresAtMs,
  };
}

function refused(text: string): AccessError {
  return new AccessError('unauthenticated', `authentication failed: ${text}`);
}
