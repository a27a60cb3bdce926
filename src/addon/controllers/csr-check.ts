import { CertificateRequest, X509Error } from '../../base/x509.ts';
import type { SigningRequest } from '../certificates/agent-csr.ts';
import type { RequestedCertificate } from '../registration/csr-approval.ts';

const minRsaBits = 2048;

/** What is asked for; an Error, where it cannot be read, is not proven, or is for a key that is too weak. */
export async function readRequest({ spec }: SigningRequest): Promise<RequestedCertificate | Error> {
  try {
    const request = new CertificateRequest(Buffer.from(spec.request, 'base64').toString('utf8'));
    if (!(await request.isProven())) {
      return new X509Error('it is not signed with the key that it names');
    }
    const { name, bits = Infinity } = request.keyKind;
    if (bits < minRsaBits) {
      return new X509Error(`its ${name} key has ${bits} bits, at least ${minRsaBits} are needed`);
    }
    const { dns, ips, others } = request.alternativeNames;
    return {
      ...request.subject,
      otherSubject: request.otherSubject,
      dnsNames: dns,
      otherNames: [...ips, ...others],
    };
  } catch (thrown) {
    if (thrown instanceof X509Error) return thrown;
    throw thrown;
  }
}
