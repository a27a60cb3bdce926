import { generateKeyPairSync } from 'node:crypto';
import 'reflect-metadata';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  checkAgentCsr,
  type ExpectedRequest,
  signAgentCsr,
  type SigningRequest,
} from '../../../src/addon/certificates/agent-csr.ts';
import { type Authority, makeAuthority } from '../../../src/addon/certificates/authority.ts';
import { dayMs, hourMs } from '../../../src/addon/certificates/lifetimes.ts';
import {
  agentSignerName,
  agentSubject,
  clusterOfSubject,
} from '../../../src/base/agent-subject.ts';
import {
  type DistinguishedName,
  generateKeys,
  importSigningKey,
  type KeyPair,
  makeCertificateRequest,
  parseCertificates,
} from '../../../src/base/x509.ts';

const cluster = '1st';
const { commonName, organizations } = agentSubject(cluster, 'proxy-agent');
const subject = { commonName, organizations, organizationalUnits: ['signer-abc'] };
const dnsName = 'cluster-proxy.addon.open-cluster-management.io';
const expected: ExpectedRequest = {
  cluster,
  signerName: agentSignerName,
  user: commonName,
  groups: organizations,
  organizationalUnits: ['signer-abc'],
};
const now = new Date('2027-01-01T00:00:00Z');

let keys: KeyPair;
let authority: Authority;
beforeAll(async () => {
  keys = await generateKeys('ecdsa');
  authority = await makeAuthority('agents', 'ecdsa', now);
});

interface Change extends Partial<Omit<SigningRequest['spec'], 'request'>> {
  readonly subject?: Partial<DistinguishedName>;
  readonly dnsNames?: readonly string[];
  readonly keys?: KeyPair;
  readonly pem?: string;
}

/** What the klusterlet of the cluster makes, but for `change`. */
async function request(change: Change = {}): Promise<SigningRequest> {
  const { subject: name = subject, dnsNames = [dnsName], keys: by = keys, pem, ...spec } = change;
  const text = pem ?? (await makeCertificateRequest(name, by, dnsNames));
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: `addon-${cluster}-cluster-proxy-x7k2p` },
    spec: {
      request: Buffer.from(text).toString('base64'),
      signerName: agentSignerName,
      username: `system:open-cluster-management:${cluster}:klusterlet-1`,
      groups: [
        `system:open-cluster-management:${cluster}`,
        'system:open-cluster-management',
        'system:authenticated',
      ],
      usages: ['digital signature', 'key encipherment', 'client auth'],
      ...spec,
    },
  };
}

/** The key is another one than that which signed. */
async function withForeignKey(): Promise<KeyPair> {
  return { publicKey: (await generateKeys('ecdsa')).publicKey, privateKey: keys.privateKey };
}

async function weakKeys(): Promise<KeyPair> {
  const pair = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  return {
    publicKey: pair.publicKey.toCryptoKey(algorithm, true, ['verify']),
    privateKey: await importSigningKey(pair.privateKey.export({ type: 'pkcs8', format: 'der' })),
  };
}

const foreign = agentSubject('other', 'proxy-agent');
const cases: readonly (readonly [string, string | undefined, Change | (() => Promise<Change>)])[] =
  [
    ['what the klusterlet asks for', undefined, {}],
    ['no names besides the subject', undefined, { dnsNames: [] }],
    [
      'groups in another order',
      undefined,
      { subject: { ...subject, organizations: organizations.toReversed() } },
    ],
    ["another cluster's subject", 'wrong_subject', { subject: { ...subject, ...foreign } }],
    [
      "another cluster's user",
      'wrong_subject',
      { subject: { ...subject, commonName: foreign.commonName } },
    ],
    [
      "another cluster's group besides its own",
      'wrong_subject',
      { subject: { ...subject, organizations: [...organizations, ...foreign.organizations] } },
    ],
    [
      'a group of administrators besides its own',
      'wrong_subject',
      { subject: { ...subject, organizations: [...organizations, 'system:masters'] } },
    ],
    [
      'one group twice in place of another',
      'wrong_subject',
      {
        subject: {
          ...subject,
          organizations: [organizations[0]!, organizations[0]!, organizations[1]!],
        },
      },
    ],
    ['no groups', 'wrong_subject', { subject: { commonName } }],
    [
      'an old unit',
      'wrong_subject',
      { subject: { ...subject, organizationalUnits: ['signer-old'] } },
    ],
    [
      "the name of the hub's server",
      'wrong_names',
      { dnsNames: [dnsName, 'proxy-entrypoint.hub.svc'] },
    ],
    ['another signer', 'wrong_signer', { signerName: 'kubernetes.io/kube-apiserver-client' }],
    [
      'another maker',
      'wrong_requester',
      { username: 'system:open-cluster-management:other:klusterlet' },
    ],
    // "1st" is the beginning of it.
    [
      'a maker whose cluster begins alike',
      'wrong_requester',
      { username: 'system:open-cluster-management:1st2:k' },
    ],
    ['no maker', 'wrong_requester', { username: '' }],
    ['a maker in no group of the cluster', 'wrong_requester', { groups: ['system:authenticated'] }],
    ['the usages of a server', 'wrong_usages', { usages: ['client auth', 'server auth'] }],
    ['the usages of a CA', 'wrong_usages', { usages: ['client auth', 'cert sign'] }],
    ['no usage of a client', 'wrong_usages', { usages: ['digital signature'] }],
    ['garbage', 'malformed', { pem: 'garbage' }],
    [
      'a key that it does not have',
      'bad_signature',
      async () => ({ keys: await withForeignKey() }),
    ],
    ['a weak key', 'weak_key', async () => ({ keys: await weakKeys() })],
  ];

describe('a request for a certificate with', () => {
  it.each(cases)('%s: %s', async (_, code, change) => {
    const made = await request(typeof change === 'function' ? await change() : change);
    const refusal = await checkAgentCsr(made, expected);
    expect(refusal?.code).toBe(code);
    expect(refusal?.sentence ?? 'it passes').toMatch(/^its? /);
  });
});

it('with more in its subject than a registration has is refused', async () => {
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${(
    await Pkcs10CertificateRequestGenerator.create({
      name: [
        ...organizations.map((group) => ({ O: [group] })),
        { OU: ['signer-abc'] },
        { CN: [commonName] },
        { L: ['elsewhere'] },
      ],
      keys: keys as never,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    })
  ).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  expect((await checkAgentCsr(await request({ pem }), expected))?.code).toBe('wrong_subject');
});

describe('a request that is signed', () => {
  const signed = async (change: Change = {}, at = now) =>
    parseCertificates(await signAgentCsr(await request(change), authority, at))[0]!;

  it('becomes a certificate of that cluster, for clients alone, for 180 days', async () => {
    const certificate = await signed();
    expect(clusterOfSubject(certificate.subject)).toBe(cluster);
    expect(certificate.subject).toEqual(subject);
    expect(certificate.purposes).toEqual(['clientAuth']);
    expect(certificate.isAuthority).toBe(false);
    expect(certificate.alternativeNames.dns).toEqual([dnsName]);
    expect(certificate.notAfter.getTime() - now.getTime()).toBe(180 * dayMs);
    expect(await certificate.isIssuedBy(authority.certificate)).toBe(true);
  });

  it.each([
    ['as long as it asks for', hourMs / 1000, hourMs],
    ['for ten minutes at least', 1, 600_000],
    ['for 180 days at most', (400 * dayMs) / 1000, 180 * dayMs],
  ])('is valid %s', async (_, expirationSeconds, lastsMs) => {
    const certificate = await signed({ expirationSeconds });
    expect(certificate.notAfter.getTime() - now.getTime()).toBe(lastsMs);
  });

  it('does not outlive the CA', async () => {
    const end = authority.certificate.notAfter;
    const certificate = await signed({}, new Date(end.getTime() - dayMs));
    expect(certificate.notAfter).toEqual(end);
  });

  it('is not signed without proof of its key', async () => {
    await expect(signed({ keys: await withForeignKey() })).rejects.toThrow(
      'not signed with the key',
    );
  });
});

describe('clusterOfSubject', () => {
  const of = (change: Partial<typeof subject>) => clusterOfSubject({ ...subject, ...change });
  it.each([
    ["the registration's own", {}, cluster],
    ['two clusters', { organizations: [...organizations, ...foreign.organizations] }, undefined],
    ['a user of another cluster', { commonName: foreign.commonName }, undefined],
    ['a group alone', { commonName: 'somebody' }, undefined],
    ['a user alone', { organizations: ['system:authenticated'] }, undefined],
    [
      'another add-on',
      { organizations: organizations.map((o) => o.replace('cluster-proxy', 'other')) },
      undefined,
    ],
    ['no name of a cluster', agentSubject('', 'a'), undefined],
    ['a name that is none', agentSubject('a:addon:cluster-proxy:agent:x', 'a'), undefined],
    ['capitals', agentSubject('C1', 'a'), undefined],
  ])('of %s', (_, change, found) => {
    expect(of(change)).toBe(found);
  });
});
