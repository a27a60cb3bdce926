import { beforeAll, describe, expect, it } from 'vitest';
import { signCsr } from '../../../src/addon/csr/sign-csr.ts';
import { type Authority, makeAuthority } from '../../../src/addon/rotation/authority.ts';
import { dayMs, hourMs } from '../../../src/addon/rotation/lifetimes.ts';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import { verifyCsr } from '../../../src/addon/csr/verify-csr.ts';
import {
  agentDnsName,
  agentSubject,
  clusterOfSubject,
} from '../../../src/base/names/agent-subject.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { csr, registeredSubject } from './csr-objects.ts';

const cluster = '1st';
const subject = registeredSubject({ cluster });
const { organizations } = subject;
const foreign = agentSubject('other', 'proxy-agent');
const now = new Date('2027-01-01T00:00:00Z');

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority('agents', 'ecdsa', now);
});

describe('a signed request', () => {
  const signed = async (spec: object = {}, at = now) => {
    const checked = await verifyCsr(
      await csr({ cluster, spec }),
      { cluster, driver: 'csr' },
      agentRegistrations(cluster, 'signer-1'),
    );
    if (checked.kind === 'refused') throw new Error(checked.sentence);
    return parseCertificates(await signCsr(checked, authority, at))[0]!;
  };

  it('A signed request becomes a client certificate of its cluster for 180 days', async () => {
    const certificate = await signed();
    expect(clusterOfSubject(certificate.subject)).toBe(cluster);
    expect(certificate.subject).toEqual(subject);
    expect(certificate.purposes).toEqual(['clientAuth']);
    expect(certificate.isAuthority).toBe(false);
    expect(certificate.alternativeNames.dns).toEqual([agentDnsName]);
    expect(certificate.notAfter.getTime() - now.getTime()).toBe(180 * dayMs);
    expect(await certificate.isIssuedBy(authority.certificate)).toBe(true);
  });

  it.each([
    ['as long as the request asks for', hourMs / 1000, hourMs],
    ['for ten minutes at least', 1, 600_000],
    ['for 180 days at most', (400 * dayMs) / 1000, 180 * dayMs],
  ])('A signed certificate is valid %s', async (_, expirationSeconds, lastsMs) => {
    const certificate = await signed({ expirationSeconds });
    expect(certificate.notAfter.getTime() - now.getTime()).toBe(lastsMs);
  });

  it('A signed certificate does not outlive its CA', async () => {
    const end = authority.certificate.notAfter;
    const certificate = await signed({}, new Date(end.getTime() - dayMs));
    expect(certificate.notAfter).toEqual(end);
  });
});

describe('clusterOfSubject', () => {
  const of = (change: Partial<typeof subject>) => clusterOfSubject({ ...subject, ...change });
  it.each([
    ["the registration's subject", {}, cluster],
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
    ['an invalid name of a cluster', agentSubject('a:addon:cluster-proxy:agent:x', 'a'), undefined],
    ['capitals', agentSubject('C1', 'a'), undefined],
  ])(
    'clusterOfSubject returns the cluster only for the subject of its own agent: %s',
    (_, change, found) => {
      expect(of(change)).toBe(found);
    },
  );
});
