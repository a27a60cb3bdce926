import { beforeAll, describe, expect, it } from 'vitest';
import { makeCertificateToken } from '../../src/base/tokens/certificate-token.ts';
import { X509Error } from '../../src/base/x509/index.ts';
import { AgentCertificates } from '../../src/broker/agent-certificates.ts';
import { AuthenticationError, type Identity, refuseAll } from '../../src/broker/authenticator.ts';
import { CertificateAuthenticator } from '../../src/broker/certificate-authenticator.ts';
import {
  AgentAuthority,
  type AgentCertificate,
  type AgentCertificateOptions,
} from '../../testkit/world/agent-authority.ts';

const hourMs = 3_600_000;
let agents: AgentAuthority;
let strangers: AgentAuthority;
beforeAll(async () => {
  agents = await AgentAuthority.create('agents');
  // Of the same name: the key decides.
  strangers = await AgentAuthority.create('agents');
});

const nobody = refuseAll('nothing was shown');
const authenticator = (next = nobody, bundle = agents.pem, onlyCluster?: string) => {
  const certificates = AgentCertificates.fromPem(bundle, { onlyCluster });
  return new CertificateAuthenticator(() => certificates, next);
};
const tlsOf = (...shown: readonly AgentCertificate[]) => ({
  certificates: shown.map(({ certificate }) => certificate.der),
});
const noTls = { certificates: [] };
const tokenOf = async ({ key, certificate }: AgentCertificate, cluster = 'c1') => {
  const token = await makeCertificateToken(key, certificate.der, cluster);
  return new Headers({ 'Culvert-Authorization': `Bearer ${token.reveal()}` });
};
const c1: Identity = { kind: 'agent', cluster: 'c1', registered: true };

describe('An agent with a certificate', () => {
  it('An agent is authenticated by the certificate of its TLS handshake', async () => {
    const shown = tlsOf(await agents.issue());
    expect(await authenticator().authenticate(new Headers(), shown)).toEqual(c1);
  });

  it.each(['ec', 'p384', 'rsa', 'ed25519'] as const)(
    'An agent is authenticated by a token with a key of %s where TLS ends before the broker',
    async (kind) => {
      const headers = await tokenOf(await agents.issue({ kind }));
      expect(await authenticator().authenticate(headers, noTls)).toEqual(c1);
    },
  );

  it('An agent is authenticated by its token behind a proxy that shows its own certificate', async () => {
    const proxy = tlsOf(await strangers.issue({ cluster: 'c9' }));
    const headers = await tokenOf(await agents.issue());
    expect(await authenticator().authenticate(headers, proxy)).toEqual(c1);
  });

  it('An agent is authenticated by either CA of a rotation', async () => {
    const both = authenticator(nobody, strangers.pem + agents.pem);
    for (const ca of [agents, strangers]) {
      expect(await both.authenticate(new Headers(), tlsOf(await ca.issue()))).toEqual(c1);
    }
  });
});

describe('A CA whose agents are all in one cluster', () => {
  it('An agent of that CA is in the cluster, whatever its certificate says', async () => {
    const only = authenticator(nobody, agents.pem, 'c7');
    const shown = await agents.issue({ cluster: 'c1' });
    const c7: Identity = { kind: 'agent', cluster: 'c7', registered: true };
    expect(await only.authenticate(new Headers(), tlsOf(shown))).toEqual(c7);
    expect(await only.authenticate(await tokenOf(shown, 'c7'), noTls)).toEqual(c7);
  });

  it('An agent of another CA is refused', async () => {
    const only = authenticator(nobody, agents.pem, 'c7');
    const shown = tlsOf(await strangers.issue());
    await expect(only.authenticate(new Headers(), shown)).rejects.toThrow('unknown_ca');
  });
});

const minute = 60_000;
const cases: readonly (readonly [
  string,
  string,
  AgentCertificateOptions & { by?: 'stranger' | 'old' },
])[] = [
  ["of a stranger's CA", 'unknown_ca', { by: 'stranger' }],
  ['that has expired', 'expired', { notAfter: new Date(Date.now() - minute) }],
  [
    'that is not valid yet',
    'not_yet_valid',
    { notBefore: new Date(Date.now() + hourMs), notAfter: new Date(Date.now() + 2 * hourMs) },
  ],
  ['of a CA that has expired', 'expired', { by: 'old' }],
  ['for servers', 'wrong_purpose', { purposes: ['serverAuth'] }],
  ['for nothing', 'wrong_purpose', { purposes: [] }],
  ['of no cluster', 'no_cluster', { subject: { commonName: 'proxy-client' } }],
  [
    'with the subject that all agents of Cluster Proxy share',
    'no_cluster',
    {
      subject: {
        commonName: 'open-cluster-management:cluster-proxy:proxy-agent',
        organizations: ['open-cluster-management:cluster-proxy'],
      },
    },
  ],
];

describe('A certificate', () => {
  const issue = async ({ by, ...options }: (typeof cases)[number][2]) => {
    const old = await AgentAuthority.create('old', new Date(Date.now() - minute));
    const issuers = { stranger: strangers, old };
    const issuer = by === undefined ? agents : issuers[by];
    return {
      shown: await issuer.issue(options),
      known: authenticator(nobody, agents.pem + old.pem),
    };
  };

  it.each(cases)('A certificate %s is refused in the handshake: %s', async (_, code, options) => {
    const { shown, known } = await issue(options);
    const refused = known.authenticate(new Headers(), tlsOf(shown));
    await expect(refused).rejects.toThrow(AuthenticationError);
    await expect(refused).rejects.toThrow(`the certificate is refused (${code})`);
  });

  it.each(cases)('A certificate %s is refused in a token: %s', async (_, code, options) => {
    const { shown, known } = await issue(options);
    const refused = known.authenticate(await tokenOf(shown), noTls);
    await expect(refused).rejects.toThrow(`the certificate is refused (${code})`);
  });

  it('A certificate that an agent has signed with its own certificate is refused', async () => {
    const agent = await agents.issue();
    const { issueCertificate, publicKeyDerOf } = await import('../../src/base/x509/index.ts');
    const { agentSubject } = await import('../../src/base/names/agent-subject.ts');
    const content = {
      subject: agentSubject('c2', 'x'),
      publicKeyDer: await publicKeyDerOf(agent.key),
      notBefore: new Date(Date.now() - hourMs),
      notAfter: new Date(Date.now() + hourMs),
      purposes: ['clientAuth' as const],
    };
    const certificate = await issueCertificate(content, agent.key, agent.certificate);
    const forged = { ...agent, certificate };
    const chain = tlsOf(forged, agent);
    await expect(authenticator().authenticate(new Headers(), chain)).rejects.toThrow('unknown_ca');
    const token = await tokenOf(forged, 'c2');
    await expect(authenticator().authenticate(token, noTls)).rejects.toThrow('unknown_ca');
  });

  it('A certificate is judged alone, whatever chain follows it', async () => {
    const chain = tlsOf(await strangers.issue(), await agents.issue());
    await expect(authenticator().authenticate(new Headers(), chain)).rejects.toThrow('unknown_ca');
  });

  it('A certificate that cannot be parsed is refused with a sentence', async () => {
    const garbage = { certificates: [new Uint8Array([1, 2, 3])] };
    await expect(authenticator().authenticate(new Headers(), garbage)).rejects.toThrow('malformed');
  });
});

describe('A token with a certificate', () => {
  it('A token that names another cluster than its certificate is refused', async () => {
    const headers = await tokenOf(await agents.issue({ cluster: 'c1' }), 'c2');
    await expect(authenticator().authenticate(headers, noTls)).rejects.toThrow('bad_claims');
  });

  it('A stolen token beside an own certificate gives only the rights of the certificate', async () => {
    const taken = await tokenOf(await agents.issue({ cluster: 'c2' }), 'c2');
    const own = tlsOf(await agents.issue({ cluster: 'c1' }));
    expect(await authenticator().authenticate(taken, own)).toEqual(c1);
  });
});

describe('A client without a valid certificate', () => {
  const other: Identity = { kind: 'dialer', name: 'somebody' };
  const next = { authenticate: () => Promise.resolve(other) };

  it.each([
    ['nothing', {}],
    ['an enrolment token', { Authorization: 'Bearer a.b.c' }],
    ['a token without a certificate', { 'Culvert-Authorization': 'Bearer a.b.c' }],
    ['another scheme', { 'Culvert-Authorization': 'Basic x5c' }],
  ] as const)('(%s) is for the next authenticator', async (_, headers) => {
    const shown = new Headers(Object.entries(headers));
    expect(await authenticator(next).authenticate(shown, noTls)).toEqual(other);
  });

  it('Another credential beside a certificate that is not valid goes to the next authenticator', async () => {
    const proxy = tlsOf(await strangers.issue());
    const headers = new Headers({ Authorization: 'Bearer a.b.c' });
    expect(await authenticator(next).authenticate(headers, proxy)).toEqual(other);
    // But such a certificate alone is refused, with its reason.
    const alone = authenticator(next).authenticate(new Headers(), proxy);
    await expect(alone).rejects.toThrow('unknown_ca');
  });
});

it('AgentCertificates refuses a bundle without a CA certificate', async () => {
  expect(() => AgentCertificates.fromPem('garbage')).toThrow(X509Error);
  const { certificate } = await agents.issue();
  expect(() => AgentCertificates.fromPem(certificate.pem)).toThrow('is not that of a CA');
  const both = `${agents.pem}${certificate.pem}`;
  expect(() => AgentCertificates.fromPem(both)).toThrow('is not that of a CA');
});
