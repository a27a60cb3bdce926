import { agentDnsName } from '../../base/names/agent-subject.ts';
import { CertificateRequest, X509Error } from '../../base/x509/index.ts';
import type { CertificateSigningRequest } from '../api/certificate-signing-request.ts';
import { isSameSet, listed } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { kubeClientSigner, type Registration } from '../api/registration-config.ts';
import { aliasAsNameText, isClusterName } from '../../base/names/cluster-name.ts';

/**
 * A request within its registration, by a client that has the private key. Only `verifyCsr` makes
 * this type.
 */
export type VerifiedCsr = Extract<Awaited<ReturnType<typeof verifyCsr>>, { kind: 'passed' }>;

const minRsaBits = 2048;
const neededUsage = 'client auth';
/** The usages that klusterlets ask for. */
const allowedUsages = [neededUsage, 'digital signature', 'key encipherment'];

/**
 * Verifies that a request asks for a certificate of this cluster's agent and for nothing else. The
 * content is read from the request's bytes, and its signature proves the private key. `decideCsr`
 * checks the requester.
 *
 * @param registrations those of the cluster's agent (see `agentRegistrations`)
 */
export async function verifyCsr(
  csr: CertificateSigningRequest,
  { cluster, driver }: Pick<ManagedClusterAddOn, 'cluster' | 'driver'>,
  registrations: readonly Registration[],
) {
  if (!isClusterName(cluster)) {
    return refusal('ForeignSubject', `is for the agent of ${quote(cluster)}: ${aliasAsNameText}`);
  }
  const registration = registrations.find(({ signer }) => signer === csr.signer);
  const hasToken = csr.signer === kubeClientSigner && driver === 'token';
  if (registration === undefined || hasToken) {
    const sentence = `is for the signer ${quote(csr.signer)}, with which the agent of ${cluster} is not registered`;
    return refusal('ForeignSigner', sentence);
  }
  const request = read(csr.pem);
  if (request instanceof X509Error) {
    return refusal('Unreadable', `has no readable request: ${request.message}`);
  }
  if (!(await request.isProven())) {
    return refusal('Unproven', 'is not signed with the key that it names');
  }
  const { name, bits = Infinity } = request.keyKind;
  if (bits < minRsaBits) {
    const sentence = `is for a ${name} key of ${bits} bits, at least ${minRsaBits} are needed`;
    return refusal('WeakKey', sentence);
  }
  const excess = differences(request, registration, csr.usages);
  if (excess.length > 0) {
    const sentence = `asks for more than the agent of ${cluster} is: ${excess.join('; ')}`;
    return refusal('ForeignSubject', sentence);
  }
  return { kind: 'passed', request, expirationSeconds: csr.expirationSeconds } as const;
}

function read(pem: string): CertificateRequest | X509Error {
  try {
    return new CertificateRequest(pem);
  } catch (thrown) {
    if (thrown instanceof X509Error) return thrown;
    throw thrown;
  }
}

function differences(
  { subject, otherSubject, alternativeNames }: CertificateRequest,
  registration: Registration,
  usages: readonly string[],
): readonly string[] {
  const found: string[] = [];
  const { commonName } = subject;
  if (commonName !== registration.user) {
    found.push(`its common name is ${quote(commonName)}, not ${quote(registration.user)}`);
  }
  const compare = (what: string, asked: readonly string[], allowed: readonly string[]) => {
    if (asked.length === allowed.length && isSameSet(asked, allowed)) return;
    found.push(`its ${what} are ${quoteAll(asked)}, not ${quoteAll(allowed)}`);
  };
  compare('organizations', subject.organizations, registration.groups);
  compare('organizational units', subject.organizationalUnits, registration.organizationalUnits);
  compare('other parts of the subject', otherSubject, []);
  const { dns, ips, others } = alternativeNames;
  const foreignNames = dns.filter((name) => name !== agentDnsName);
  compare('alternative names', [...foreignNames, ...ips, ...others], []);
  const foreignUsages = usages.filter((usage) => !allowedUsages.includes(usage));
  compare('usages beyond those of a client', foreignUsages, []);
  if (!usages.includes(neededUsage)) found.push(`its usages lack ${quote(neededUsage)}`);
  return found;
}

const quotedLength = 200;
const quotedValues = 5;

// The content of a request is foreign text. Quotes mark it in messages, and a limit keeps logs
// short.
function quote(value: string): string {
  const isLong = value.length > quotedLength;
  return JSON.stringify(isLong ? `${value.slice(0, quotedLength)}…` : value);
}

function quoteAll(values: readonly string[]): string {
  return listed(values.map(quote), quotedValues) || 'none';
}

/** @param sentence follows the name of the request: `asks for more than ...` */
function refusal(
  reason: 'ForeignSigner' | 'Unreadable' | 'Unproven' | 'WeakKey' | 'ForeignSubject',
  sentence: string,
) {
  return { kind: 'refused', reason, sentence } as const;
}
