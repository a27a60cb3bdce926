import { issueCertificate } from '../../base/x509.ts';
import type { Authority } from '../rotation/authority.ts';
import { clockSkewMs, leafLifetimeMs } from '../rotation/lifetimes.ts';
import type { CheckedCsr } from './verify-csr.ts';

const minLifetimeMs = 10 * 60_000;

/**
 * Signs a request that has passed: for clients alone, with its subject and names, for 180 days or until the CA ends or as long as it
 * asks for.
 *
 * @returns the certificate in PEM
 */
export async function signAgentCsr(
  { request, expirationSeconds = Infinity }: CheckedCsr,
  authority: Authority,
  now: Date,
): Promise<string> {
  const lifetimeMs = Math.max(minLifetimeMs, Math.min(expirationSeconds * 1000, leafLifetimeMs));
  const endsAtMs = Math.min(now.getTime() + lifetimeMs, authority.certificate.notAfter.getTime());
  const content = {
    subject: request.subjectDer,
    publicKeyDer: request.publicKeyDer,
    notBefore: new Date(now.getTime() - clockSkewMs),
    notAfter: new Date(endsAtMs),
    purposes: ['clientAuth' as const],
    alternativeNames: request.alternativeNames,
  };
  return (await issueCertificate(content, authority.key, authority.certificate)).pem;
}
