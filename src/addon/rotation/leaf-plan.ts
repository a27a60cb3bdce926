import { isIP } from 'node:net';
import {
  type AlternativeNames,
  type Certificate,
  exportKeyPem,
  generateKeys,
  issueCertificate,
  type Purpose,
  publicKeyDerOf,
} from '../../base/x509/index.ts';
import { isSameSet } from '../api/fields.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Authority, readable, readPair } from './authority.ts';
import { leafLifetimeMs, renewAt, validity } from './lifetimes.ts';
import { textIn } from './secret.ts';

export type HubNames = Pick<AlternativeNames, 'dns' | 'ips'>;

/**
 * The names in the certificates of the hub's servers and of its client, sorted. An address is among
 * the DNS names as well, because some clients look for it there.
 */
export function hubNames(sans: readonly string[]): HubNames {
  const dns = sans.toSorted();
  return { dns, ips: dns.filter((name) => isIP(name) !== 0) };
}

export interface LeafSpec {
  readonly purpose: Purpose;
  readonly names: HubNames;
  readonly authority: Authority;
  readonly now: Date;
}

export type LeafPlan = Readonly<Awaited<ReturnType<typeof planLeaf>>>;

/**
 * Plans a leaf certificate: the one in the Secret, or a new one when that one does not match
 * `spec`.
 */
export async function planLeaf(observed: KubeObject | undefined, spec: LeafSpec) {
  const found = await readLeaf(observed);
  const reissued = typeof found === 'string' ? found : await reissueReason(found.certificate, spec);
  const leaf = typeof found === 'string' || reissued !== undefined ? await issue(spec) : found;
  const { certificate, keyPem } = leaf;
  return {
    /** Undefined: the existing certificate stays. */
    reissued,
    certificate,
    /** The certificate, then the CA; and the key. */
    texts: { 'tls.crt': certificate.pem + spec.authority.certificate.pem, 'tls.key': keyPem },
    lookAgainAt: renewAt(certificate),
  };
}

/** The certificate in a Secret. Undefined: there is none, or it cannot be used. */
export async function leafIn(observed: KubeObject | undefined): Promise<Certificate | undefined> {
  const found = await readLeaf(observed);
  return typeof found === 'string' ? undefined : found.certificate;
}

async function readLeaf(secret: KubeObject | undefined) {
  const certPem = textIn(secret, 'tls.crt');
  const keyPem = textIn(secret, 'tls.key');
  if (certPem === undefined || keyPem === undefined) return 'missing';
  const pair = await readable(() => readPair(certPem, keyPem));
  return pair === undefined ? 'unreadable' : { certificate: pair.certificate, keyPem };
}

/** Why a certificate is issued again. Undefined: it stays. */
async function reissueReason(
  certificate: Certificate,
  { authority, names, purpose, now }: LeafSpec,
) {
  if (certificate.notAfter <= now) return 'expired';
  if (now >= renewAt(certificate)) return 'aged';
  if (!(await certificate.isIssuedBy(authority.certificate))) return 'other_issuer';
  if (!certificate.purposes.includes(purpose)) return 'other_purpose';
  return sameNames(certificate.alternativeNames, names) ? undefined : 'other_names';
}

function sameNames(has: AlternativeNames, wanted: HubNames): boolean {
  const { dns, ips } = wanted;
  return isSameSet(has.dns, dns) && isSameSet(has.ips.map(address), ips.map(address));
}

/** One spelling for each address: IPv6 has several. */
function address(ip: string): string {
  return ip.includes(':') ? (URL.parse(`http://[${ip}]`)?.hostname ?? ip) : ip;
}

async function issue({ authority, names, purpose, now }: LeafSpec) {
  const { privateKey } = await generateKeys('ecdsa');
  const content = {
    subject: { commonName: names.dns[0] ?? '' },
    publicKeyDer: await publicKeyDerOf(privateKey),
    ...validity(now, leafLifetimeMs, authority.certificate),
    purposes: [purpose],
    alternativeNames: names,
  };
  const certificate = await issueCertificate(content, authority.key, authority.certificate);
  return { certificate, keyPem: await exportKeyPem(privateKey) };
}
