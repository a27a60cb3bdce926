import { agentDnsName } from '../../base/agent-subject.ts';
import { CertificateRequest, issueCertificate, X509Error } from '../../base/x509.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import type { Authority } from './authority.ts';
import { clockSkewMs, leafLifetimeMs } from './lifetimes.ts';

/** A CertificateSigningRequest (certificates.k8s.io/v1). */
export interface SigningRequest extends KubeObject {
  readonly spec: {
    /** PEM, in base64. */
    readonly request: string;
    readonly signerName: string;
    /** Who made it: the API server fills these in. */
    readonly username?: string;
    readonly groups?: readonly string[];
    readonly usages?: readonly string[];
    readonly expirationSeconds?: number;
  };
}

/** What the registration of a cluster's add-on asks its klusterlet to ask for. */
export interface ExpectedRequest {
  readonly cluster: string;
  readonly signerName: string;
  readonly user: string;
  readonly groups: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/** Why a request is not approved. */
export type CsrRefusalCode =
  | 'wrong_signer'
  | 'wrong_requester'
  | 'malformed'
  | 'bad_signature'
  | 'weak_key'
  | 'wrong_subject'
  | 'wrong_names'
  | 'wrong_usages';

export interface CsrRefusal {
  readonly code: CsrRefusalCode;
  /** Names what was expected; for a log and a condition. */
  readonly sentence: string;
}

const clusterUserPrefix = 'system:open-cluster-management:';
const allowedDnsNames: ReadonlySet<string> = new Set([agentDnsName]);
const allowedUsages: ReadonlySet<string> = new Set([
  'digital signature',
  'key encipherment',
  'client auth',
]);
const minRsaBits = 2048;
const minLifetimeMs = 10 * 60_000;

/** Whether a request is what the klusterlet of that cluster makes, and nothing else; undefined: it is. */
export async function checkAgentCsr(
  { spec }: SigningRequest,
  expected: ExpectedRequest,
): Promise<CsrRefusal | undefined> {
  const { cluster } = expected;
  if (spec.signerName !== expected.signerName) {
    return refusal('wrong_signer', `it is for ${spec.signerName}, not for ${expected.signerName}`);
  }
  // With the colon: cluster1 is not cluster10.
  const isOurs =
    spec.username?.startsWith(`${clusterUserPrefix}${cluster}:`) === true &&
    spec.groups?.includes(`${clusterUserPrefix}${cluster}`) === true;
  if (!isOurs) {
    const sentence = `it was made by ${spec.username ?? 'nobody'}, who is not the klusterlet of ${cluster}`;
    return refusal('wrong_requester', sentence);
  }
  const usages = spec.usages ?? [];
  if (!usages.includes('client auth') || !usages.every((usage) => allowedUsages.has(usage))) {
    const sentence = `it is for ${usages.join(', ')}; client auth, digital signature and key encipherment are signed`;
    return refusal('wrong_usages', sentence);
  }
  let request: CertificateRequest;
  try {
    request = new CertificateRequest(pemOf(spec));
  } catch (thrown) {
    if (!(thrown instanceof X509Error)) throw thrown;
    return refusal('malformed', thrown.message);
  }
  return (await checkProof(request)) ?? checkNames(request, expected);
}

async function checkProof(request: CertificateRequest): Promise<CsrRefusal | undefined> {
  if (!(await request.isProven())) {
    return refusal('bad_signature', 'it is not signed with the key that it names');
  }
  const { name, bits = Infinity } = request.keyKind;
  if (bits >= minRsaBits) return undefined;
  return refusal('weak_key', `its ${name} key has ${bits} bits, at least ${minRsaBits} are needed`);
}

function checkNames(
  { subject, otherSubject, alternativeNames }: CertificateRequest,
  { user, groups, organizationalUnits, cluster }: ExpectedRequest,
): CsrRefusal | undefined {
  const isExpected =
    otherSubject.length === 0 &&
    subject.commonName === user &&
    sameSet(subject.organizations, groups) &&
    sameSet(subject.organizationalUnits, organizationalUnits);
  if (!isExpected) {
    const sentence = `its subject is ${JSON.stringify({ ...subject, others: otherSubject })}, which is not that of the add-on's agents of ${cluster}`;
    return refusal('wrong_subject', sentence);
  }
  const { dns, ips, others } = alternativeNames;
  const odd = [...dns.filter((name) => !allowedDnsNames.has(name)), ...ips, ...others];
  if (odd.length === 0) return undefined;
  return refusal('wrong_names', `it asks for ${odd.join(', ')} besides its subject`);
}

/**
 * Signs a request that `checkAgentCsr` has let pass: for clients alone, with its subject and names, for 180 days or until the CA ends or
 * as long as it asks for.
 *
 * @returns the certificate in PEM
 * @throws X509Error it is not one that passes
 */
export async function signAgentCsr(
  { spec }: SigningRequest,
  authority: Authority,
  now: Date,
): Promise<string> {
  const request = new CertificateRequest(pemOf(spec));
  if (!(await request.isProven())) {
    throw new X509Error('the request is not signed with the key that it names');
  }
  const askedMs = (spec.expirationSeconds ?? Infinity) * 1000;
  const lifetimeMs = Math.max(minLifetimeMs, Math.min(askedMs, leafLifetimeMs));
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

function pemOf({ request }: SigningRequest['spec']): string {
  return Buffer.from(request, 'base64').toString('utf8');
}

function sameSet(left: readonly string[], right: readonly string[]): boolean {
  return (
    left.length === right.length && new Set(left).symmetricDifference(new Set(right)).size === 0
  );
}

function refusal(code: CsrRefusalCode, sentence: string): CsrRefusal {
  return { code, sentence };
}
