import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeAuthority, readAuthority } from '../../../src/addon/rotation/authority.ts';
import { minimumWaits } from '../../../src/addon/rotation/authority-rotation.ts';
import { dayMs } from '../../../src/addon/rotation/lifetimes.ts';
import { secret as makeSecret } from '../../../src/addon/api/objects.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import { freshHub, Hub, isTrusted, leafNames, minuteMs, namesOf, start } from './kept-secrets.ts';

describe('a hub without any certificate', () => {
  it('A hub without any certificate gets two CAs, their bundles and three certificates, in order', async () => {
    const { secrets } = await new Hub().plan();
    expect(secrets.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      'signers/cluster-proxy-signer',
      'signers/cluster-proxy-agent-signer',
      'hub/proxy-server-ca',
      'hub/agent-ca',
      'hub/proxy-server',
      'hub/agent-server',
      'hub/proxy-client',
    ]);
  });

  it("A hub without any certificate gets Cluster Proxy's names, purposes, lifetimes, and the CA behind each certificate", async () => {
    const hub = new Hub();
    hub.spec = { names: namesOf(['proxy.example.com', '10.1.2.3', '2001:DB8::1']) };
    await hub.reconcile();
    const dns = [
      '10.1.2.3',
      '127.0.0.1',
      '2001:DB8::1',
      'localhost',
      'proxy-entrypoint.hub',
      'proxy-entrypoint.hub.svc',
      'proxy.example.com',
    ];
    for (const name of leafNames) {
      const leaf = hub.leaf(name);
      expect(leaf.subject.commonName).toBe('10.1.2.3');
      expect(leaf.alternativeNames.dns).toEqual(dns);
      expect(leaf.alternativeNames.ips).toHaveLength(3);
      const client = name === 'proxy-client';
      expect(leaf.purposes).toEqual([client ? 'clientAuth' : 'serverAuth']);
      expect(Math.round((leaf.notAfter.getTime() - start.getTime()) / dayMs)).toBe(180);
      const [, behind] = parseCertificates(hub.text(name, 'tls.crt'));
      expect(behind!.equals(hub.bundle()[0]!)).toBe(true);
      expect(hub.text(name, 'ca.crt')).toBe(hub.text('proxy-server-ca', 'ca.crt'));
    }
    const [authority] = hub.bundle();
    expect(authority!.title).toBe('CN=open-cluster-management:cluster-proxy');
    expect(authority!.isAuthority).toBe(true);
    const years = (authority!.notAfter.getTime() - start.getTime()) / (365.25 * dayMs);
    expect(years).toBeCloseTo(10, 1);
  });

  it('A hub trusts the CA of its agents in a bundle of its own', async () => {
    const hub = await freshHub();
    const [ofServers] = hub.bundle('proxy-server-ca');
    const [ofAgents] = hub.bundle('agent-ca');
    expect(ofAgents!.equals(ofServers!)).toBe(false);
    for (const name of leafNames) expect(await hub.leaf(name).isIssuedBy(ofAgents!)).toBe(false);
  });

  it('The certificates of a hub stay the same when nothing changes', async () => {
    const hub = await freshHub();
    const before = structuredClone([...hub.secrets]);
    hub.pass(dayMs);
    const { lookAgainAt } = await hub.reconcile();
    expect([...hub.secrets]).toEqual(before);
    // 80 % of 180 days.
    expect(Math.round((lookAgainAt.getTime() - start.getTime()) / dayMs)).toBe(144);
  });
});

describe('a certificate', () => {
  interface Case {
    readonly reason: string | undefined;
    readonly change: (hub: Hub) => void | Promise<void>;
  }
  const cases: readonly (readonly [string, Case])[] = [
    ['is kept on day 143', { reason: undefined, change: (hub) => hub.pass(143 * dayMs) }],
    ['is renewed on day 144', { reason: 'aged', change: (hub) => hub.pass(144 * dayMs) }],
    ['is renewed when it has expired', { reason: 'expired', change: (h) => h.pass(181 * dayMs) }],
    [
      'is renewed when its Secret is gone',
      { reason: 'missing', change: (hub) => void hub.secrets.delete('agent-server') },
    ],
    [
      'is renewed when its Secret is empty',
      { reason: 'missing', change: (hub) => hub.replaceText('agent-server', 'tls.crt', '') },
    ],
    [
      'is renewed when it cannot be read',
      {
        reason: 'unreadable',
        change: (hub) => hub.replaceText('agent-server', 'tls.crt', 'no certificate'),
      },
    ],
    [
      'is renewed when its key belongs to another certificate',
      {
        reason: 'unreadable',
        change: (hub) =>
          hub.replaceText('agent-server', 'tls.key', hub.text('proxy-server', 'tls.key')),
      },
    ],
    [
      'is renewed when a name is added',
      { reason: 'other_names', change: (hub) => void (hub.spec = { names: namesOf(['foo']) }) },
    ],
    [
      'is renewed when it has another purpose',
      {
        reason: 'other_purpose',
        change: (hub) => {
          for (const key of ['tls.crt', 'tls.key'])
            hub.replaceText('agent-server', key, hub.text('proxy-client', key));
        },
      },
    ],
    [
      'is renewed when its CA has the right name and another key',
      {
        reason: 'other_issuer',
        change: async (hub) => {
          const commonName = 'open-cluster-management:cluster-proxy';
          const impostor = await makeAuthority(commonName, 'rsa', hub.now);
          hub.replaceText('cluster-proxy-signer', 'ca.crt', impostor.certPem);
          hub.replaceText('cluster-proxy-signer', 'ca.key', impostor.keyPem);
        },
      },
    ],
  ];

  it.each(cases)('A certificate %s', async (_, { reason, change }) => {
    const hub = await freshHub();
    const before = hub.text('agent-server', 'tls.crt');
    await change(hub);
    const { leaves } = await hub.reconcile();
    expect(leaves.agentServer?.reissued).toBe(reason);
    expect(hub.text('agent-server', 'tls.crt') === before).toBe(reason === undefined);
    expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
    expect((await hub.plan()).leaves.agentServer?.reissued).toBeUndefined();
  });
});

describe('the Secrets of Cluster Proxy', () => {
  it('The Secrets of Cluster Proxy are taken over: its CA continues to sign, and its client certificate stays', async () => {
    const hub = await freshHub();
    // Cluster Proxy stores RSA keys, also in PKCS#1, in Secrets of other types.
    const commonName = 'open-cluster-management:cluster-proxy';
    const theirs = await makeAuthority(commonName, 'rsa', hub.now);
    hub.replaceText('cluster-proxy-signer', 'ca.crt', theirs.certPem);
    hub.replaceText('cluster-proxy-signer', 'ca.key', theirs.keyPem);
    hub.secrets.delete('proxy-server-ca');
    await hub.reconcile();
    const issued = hub.text('proxy-client', 'tls.crt');
    hub.secrets.delete('agent-ca');
    hub.secrets.delete('cluster-proxy-agent-signer');
    const tls = hub.secrets.get('proxy-server')!;
    hub.secrets.set('proxy-server', { ...tls, type: 'kubernetes.io/tls' });

    const { problems, secrets } = await hub.reconcile();
    expect(problems).toEqual([]);
    expect(hub.text('cluster-proxy-signer', 'ca.crt')).toBe(theirs.certPem);
    expect(hub.text('proxy-client', 'tls.crt')).toBe(issued);
    const types = secrets.map(({ metadata, type }) => `${metadata.name} ${String(type)}`);
    expect(types).toContain('proxy-server kubernetes.io/tls');
    expect(types).toContain('proxy-client Opaque');
  });

  it.each(['pkcs1', 'pkcs8'] as const)(
    'The Secrets of Cluster Proxy may hold keys in %s',
    async (type) => {
      const { keyPem, certPem } = await makeAuthority('x', 'rsa', start);
      const { createPrivateKey } = await import('node:crypto');
      const stored = createPrivateKey(keyPem).export({ type, format: 'pem' });
      expect((await readAuthority(certPem, String(stored))).certPem).toBe(certPem);
    },
  );
});

describe('a CA that cannot be read', () => {
  const others = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  it.each([
    ['ca.crt', 'garbage', 'there is no certificate'],
    ['ca.key', '', 'it has no key'],
    ['ca.key', 'garbage', 'no private key'],
    ['ca.key', others.privateKey, 'belongs to another certificate'],
  ])(
    'A CA whose %s cannot be read is not changed and is reported, and the others continue',
    async (key, text, problem) => {
      const hub = await freshHub();
      const good = hub.text('cluster-proxy-signer', key);
      hub.replaceText('cluster-proxy-signer', key, text);
      hub.secrets.delete('agent-ca');
      const { problems, secrets, lookAgainAt } = await hub.reconcile();
      expect(problems).toEqual([
        { secret: 'signers/cluster-proxy-signer', sentence: expect.stringContaining(problem) },
      ]);
      expect(problems[0]!.sentence).toMatch(/restore it, or delete the Secret/);
      expect(problems[0]!.sentence).not.toContain('PRIVATE');
      expect(secrets.map(({ metadata }) => metadata.name)).toEqual([
        'cluster-proxy-agent-signer',
        'agent-ca',
      ]);
      expect(lookAgainAt.getTime() - hub.now.getTime()).toBe(minuteMs);

      hub.replaceText('cluster-proxy-signer', key, good);
      expect((await hub.reconcile()).problems).toEqual([]);
    },
  );
});

describe('a CA whose Secret was deleted', () => {
  it('A CA whose Secret was deleted is replaced, and its certificates stay trusted for a while', async () => {
    const hub = await freshHub();
    const old = hub.leaf('proxy-client');
    hub.secrets.delete('cluster-proxy-signer');
    const { konnectivity } = await hub.reconcile();
    expect(konnectivity?.stage).toBe('retiring');
    expect(await isTrusted(old, hub.bundle())).toBe(true);
    expect(await isTrusted(hub.leaf('proxy-client'), hub.bundle().slice(0, 1))).toBe(true);
    hub.pass(minimumWaits.requested.retireMs);
    expect((await hub.reconcile()).konnectivity?.stage).toBe('steady');
    expect(hub.bundle()).toHaveLength(1);
  });
});

it('A new Secret keeps the type of the existing Secret', () => {
  const metadata = { name: 'a', namespace: 'b' };
  const observed = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'kubernetes.io/tls' };
  expect(makeSecret(metadata, {}, observed.type)['type']).toBe('kubernetes.io/tls');
  expect(makeSecret(metadata, {})['type']).toBe('Opaque');
});
