import { issueCertificate } from '../../base/x509/index.ts';
import type { Authority } from '../rotation/authority.ts';
import { leafLifetimeMs, validity } from '../rotation/lifetimes.ts';
import type { VerifiedCsr } from './verify-csr.ts';

const minLifetimeMs = 10 * 60_000;

/**
 * Signs a verified request. The certificate is for clients only and has the subject and names of
 * the request. It is valid for the time that the request asks for (at least 10 minutes), at most
 * 180 days, and not longer than the CA.
 *
 * @returns the certificate in PEM
 */
export async function signCsr(
  { request, expirationSeconds = Infinity }: VerifiedCsr,
  authority: Authority,
  now: Date,
): Promise<string> {
  const lifetimeMs = Math.max(minLifetimeMs, Math.min(expirationSeconds * 1000, leafLifetimeMs));
  const content = {
    subject: request.subjectDer,
    publicKeyDer: request.publicKeyDer,
    ...validity(now, lifetimeMs, authority.certificate),
    purposes: ['clientAuth' as const],
    alternativeNames: request.alternativeNames,
  };
  return (await issueCertificate(content, authority.key, authority.certificate)).pem;
}
