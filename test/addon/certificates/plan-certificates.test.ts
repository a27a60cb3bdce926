import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeAuthority, readAuthority } from '../../../src/addon/certificates/authority.ts';
import { defaultWaits } from '../../../src/addon/certificates/authority-plan.ts';
import { hubNames } from '../../../src/addon/certificates/hub-names.ts';
import { dayMs, hourMs } from '../../../src/addon/certificates/lifetimes.ts';
import {
  type CertificatesPlan,
  type CertificatesWish,
  type ObservedCertificates,
  planCertificates,
} from '../../../src/addon/certificates/plan-certificates.ts';
import { annotations, makeSecret, textIn } from '../../../src/addon/certificates/secret.ts';
import { organizationalUnitOf } from '../../../src/addon/registration/agent-identity.ts';
import { type Certificate, parseCertificates } from '../../../src/base/x509.ts';
import type { KubeObject } from '../../../src/kube/kube-object.ts';

const start = new Date('2027-01-01T00:00:00Z');
const namesOf = (additional: readonly string[] = []) =>
  hubNames([
    ...additional,
    '127.0.0.1',
    'localhost',
    'proxy-entrypoint.hub',
    'proxy-entrypoint.hub.svc',
  ]);
const minuteMs = 60_000;

/** Secrets as an API server keeps them, and a clock: what is planned is applied. */
class Hub {
  now = start;
  wish: Partial<CertificatesWish> = {};
  readonly secrets = new Map<string, KubeObject>();

  get observed(): ObservedCertificates {
    const { secrets } = this;
    return {
      signer: secrets.get('cluster-proxy-signer'),
      agentSigner: secrets.get('cluster-proxy-agent-signer'),
      serverCa: secrets.get('proxy-server-ca'),
      agentCa: secrets.get('agent-ca'),
      proxyServer: secrets.get('proxy-server'),
      agentServer: secrets.get('agent-server'),
      proxyClient: secrets.get('proxy-client'),
    };
  }

  plan(): Promise<CertificatesPlan> {
    const { now } = this;
    const where = { signerNamespace: 'signers', hubNamespace: 'hub' };
    return planCertificates(this.observed, { now, ...where, names: namesOf(), ...this.wish });
  }

  /**
   * Applies plans until there is nothing to change, as somebody does who watches the Secrets. With `count` it is killed after so many
   * Secrets of the first plan.
   */
  async reconcile(count = Infinity): Promise<CertificatesPlan> {
    const plan = await this.plan();
    for (let at = plan; ; at = await this.plan()) {
      const before = JSON.stringify([...this.secrets]);
      for (const secret of at.secrets.slice(0, count)) this.apply(secret);
      if (count !== Infinity || JSON.stringify([...this.secrets]) === before) return plan;
    }
  }

  apply(secret: KubeObject): void {
    // A person's annotations are of another owner: they stay.
    const before = this.secrets.get(secret.metadata.name)?.metadata.annotations ?? {};
    const kept = annotations.rotateCa in before && {
      [annotations.rotateCa]: before[annotations.rotateCa]!,
    };
    const metadata = {
      ...secret.metadata,
      annotations: { ...secret.metadata.annotations, ...kept },
    };
    this.secrets.set(secret.metadata.name, { ...secret, metadata });
  }

  pass(ms: number): void {
    this.now = new Date(this.now.getTime() + ms);
  }

  annotate(name: string, annotation: string, value: string): void {
    const secret = this.secrets.get(name)!;
    const metadata = { ...secret.metadata, annotations: { [annotation]: value } };
    this.secrets.set(name, {
      ...secret,
      metadata: {
        ...metadata,
        annotations: { ...secret.metadata.annotations, ...metadata.annotations },
      },
    });
  }

  replaceText(name: string, key: string, text: string): void {
    const secret = this.secrets.get(name)!;
    const data = secret['data'] as Record<string, string>;
    this.secrets.set(name, {
      ...secret,
      data: { ...data, [key]: Buffer.from(text).toString('base64') },
    });
  }

  text(name: string, key: string): string {
    return textIn(this.secrets.get(name), key) ?? '';
  }

  leaf(name: string): Certificate {
    return parseCertificates(this.text(name, 'tls.crt'))[0]!;
  }

  bundle(name = 'proxy-server-ca'): readonly Certificate[] {
    return parseCertificates(this.text(name, 'ca.crt'));
  }
}

const installed = new Hub();
await installed.reconcile();

/** A hub as it is after the installation. */
async function freshHub(): Promise<Hub> {
  const hub = new Hub();
  for (const [name, secret] of installed.secrets) hub.secrets.set(name, structuredClone(secret));
  return hub;
}

async function isTrusted(leaf: Certificate, bundle: readonly Certificate[]): Promise<boolean> {
  const found = await Promise.all(bundle.map((authority) => leaf.isIssuedBy(authority)));
  return found.includes(true);
}

const leafNames = ['proxy-server', 'agent-server', 'proxy-client'] as const;

describe('a hub without any certificate', () => {
  it('gets two CAs, their bundles and three certificates, in the order in which they may be applied', async () => {
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

  it('has what Cluster Proxy has in them: names, purposes, lifetimes, the CA behind the certificate', async () => {
    const hub = new Hub();
    hub.wish = { names: namesOf(['proxy.example.com', '10.1.2.3', '2001:DB8::1']) };
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

  it('keeps agents apart: their CA is trusted in another bundle', async () => {
    const hub = await freshHub();
    const [ofServers] = hub.bundle('proxy-server-ca');
    const [ofAgents] = hub.bundle('agent-ca');
    expect(ofAgents!.equals(ofServers!)).toBe(false);
    for (const name of leafNames) expect(await hub.leaf(name).isIssuedBy(ofAgents!)).toBe(false);
  });

  it('stays as it is when nothing changes', async () => {
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
    ['is made anew on day 144', { reason: 'aged', change: (hub) => hub.pass(144 * dayMs) }],
    ['is made anew when it has expired', { reason: 'expired', change: (h) => h.pass(181 * dayMs) }],
    [
      'is made anew when its Secret is gone',
      { reason: 'missing', change: (hub) => void hub.secrets.delete('agent-server') },
    ],
    [
      'is made anew when its Secret is empty',
      { reason: 'missing', change: (hub) => hub.replaceText('agent-server', 'tls.crt', '') },
    ],
    [
      'is made anew when it cannot be read',
      {
        reason: 'unreadable',
        change: (hub) => hub.replaceText('agent-server', 'tls.crt', 'no certificate'),
      },
    ],
    [
      'is made anew when its key is another one',
      {
        reason: 'unreadable',
        change: (hub) =>
          hub.replaceText('agent-server', 'tls.key', hub.text('proxy-server', 'tls.key')),
      },
    ],
    [
      'is made anew when a name is added',
      { reason: 'other_names', change: (hub) => void (hub.wish = { names: namesOf(['foo']) }) },
    ],
    [
      'is made anew when it is for something else',
      {
        reason: 'other_purpose',
        change: (hub) => {
          for (const key of ['tls.crt', 'tls.key'])
            hub.replaceText('agent-server', key, hub.text('proxy-client', key));
        },
      },
    ],
    [
      'is made anew when its CA has the right name and another key',
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

  it.each(cases)('%s', async (_, { reason, change }) => {
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
  it('are taken over: its CA goes on signing, and a client certificate that it has issued stays', async () => {
    const hub = await freshHub();
    // As it stores them: an RSA key, also in PKCS#1, and Secrets of other types.
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

  it.each(['pkcs1', 'pkcs8'] as const)('hold keys in %s, which are read', async (type) => {
    const { keyPem, certPem } = await makeAuthority('x', 'rsa', start);
    const { createPrivateKey } = await import('node:crypto');
    const stored = createPrivateKey(keyPem).export({ type, format: 'pem' });
    expect((await readAuthority(certPem, String(stored))).certPem).toBe(certPem);
  });
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
  ])('because of %s is left alone and reported, and nothing else stops', async (key, text, why) => {
    const hub = await freshHub();
    const good = hub.text('cluster-proxy-signer', key);
    hub.replaceText('cluster-proxy-signer', key, text);
    hub.secrets.delete('agent-ca');
    const { problems, secrets, lookAgainAt } = await hub.reconcile();
    expect(problems).toEqual([
      { secret: 'signers/cluster-proxy-signer', sentence: expect.stringContaining(why) },
    ]);
    expect(problems[0]!.sentence).toMatch(/put it back, or delete the Secret/);
    expect(problems[0]!.sentence).not.toContain('PRIVATE');
    expect(secrets.map(({ metadata }) => metadata.name)).toEqual([
      'cluster-proxy-agent-signer',
      'agent-ca',
    ]);
    expect(lookAgainAt.getTime() - hub.now.getTime()).toBe(minuteMs);

    hub.replaceText('cluster-proxy-signer', key, good);
    expect((await hub.reconcile()).problems).toEqual([]);
  });
});

describe('a CA whose Secret was deleted', () => {
  it('is replaced, and what it has signed stays trusted meanwhile', async () => {
    const hub = await freshHub();
    const old = hub.leaf('proxy-client');
    hub.secrets.delete('cluster-proxy-signer');
    const { konnectivity } = await hub.reconcile();
    expect(konnectivity?.stage).toBe('retiring');
    expect(await isTrusted(old, hub.bundle())).toBe(true);
    expect(await isTrusted(hub.leaf('proxy-client'), hub.bundle().slice(0, 1))).toBe(true);
    hub.pass(defaultWaits.requested.retireMs);
    expect((await hub.reconcile()).konnectivity?.stage).toBe('steady');
    expect(hub.bundle()).toHaveLength(1);
  });
});

describe('the rotation of a CA', () => {
  const { distributeMs, retireMs } = defaultWaits.requested;
  const rotate = (hub: Hub, value = 'please') =>
    hub.annotate('cluster-proxy-signer', annotations.rotateCa, value);
  const stageOf = async (hub: Hub) => (await hub.reconcile()).konnectivity!.stage;

  it('is asked for by an annotation, and done once for each value of it', async () => {
    const hub = await freshHub();
    rotate(hub, 'one');
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs);
    expect(await stageOf(hub)).toBe('steady');
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('steady');
    rotate(hub, 'two');
    expect(await stageOf(hub)).toBe('distributing');
    // Asked for while one is under way: that one first, then another.
    rotate(hub, 'three');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs);
    expect(await stageOf(hub)).toBe('steady');
    expect(await stageOf(hub)).toBe('distributing');
  });

  it('is due by itself after 80 % of its lifetime, and takes its time then', async () => {
    const hub = await freshHub();
    hub.pass(0.81 * 3652 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(29 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('retiring');
    // Certificates are renewed on the way; that does not begin the wait again.
    for (const days of [100, 79]) {
      hub.pass(days * dayMs);
      expect(await stageOf(hub)).toBe('retiring');
    }
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('steady');
    expect(hub.bundle()).toHaveLength(1);
  });

  it('changes in each stage what it should and nothing else', async () => {
    const hub = await freshHub();
    const [first] = hub.bundle();
    const before = hub.leaf('agent-server');
    rotate(hub);
    await hub.reconcile();
    const [signing, next] = hub.bundle();
    expect(signing!.equals(first!)).toBe(true);
    expect(next!.title).not.toBe(first!.title);
    expect(hub.leaf('agent-server').equals(before)).toBe(true);
    expect(hub.text('cluster-proxy-signer', 'next.key')).toContain('PRIVATE KEY');

    hub.pass(distributeMs);
    await hub.reconcile();
    expect(hub.bundle().map(({ title }) => title)).toEqual([next!.title, first!.title]);
    for (const name of leafNames) expect(await hub.leaf(name).isIssuedBy(next!)).toBe(true);
    expect(hub.text('cluster-proxy-signer', 'ca.crt')).toBe(next!.pem);
    expect(hub.text('cluster-proxy-signer', 'next.crt')).toBe('');
    expect(hub.text('cluster-proxy-signer', 'previous.crt')).toBe(first!.pem);

    hub.pass(retireMs);
    await hub.reconcile();
    expect(hub.bundle().map(({ title }) => title)).toEqual([next!.title]);
    expect(hub.text('cluster-proxy-signer', 'previous.crt')).toBe('');
    // The other CA has not moved.
    expect(hub.bundle('agent-ca')).toHaveLength(1);
  });

  it('waits from when the bundle was there, however long its maker was away', async () => {
    const hub = await freshHub();
    rotate(hub);
    // Killed after it has stored the next CA, and before anybody was told.
    await hub.reconcile(1);
    expect(hub.bundle()).toHaveLength(1);
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs - 1);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(1);
    expect(await stageOf(hub)).toBe('retiring');
  });

  it('waits again when somebody has edited the bundle', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.pass(distributeMs - 1);
    hub.replaceText('proxy-server-ca', 'ca.crt', hub.bundle()[0]!.pem);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs - 1);
    expect(await stageOf(hub)).toBe('distributing');
  });

  it('drops the old CA only when what it had signed has been gone for long enough', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.pass(distributeMs);
    // Killed after the bundles, again and again: the old certificates are still shown.
    for (let time = 0; time < 3; time++) {
      await hub.reconcile(4);
      hub.pass(retireMs);
      expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
    }
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs - 1);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(1);
    expect(await stageOf(hub)).toBe('steady');
  });

  it('is held back for those who have not followed, for a day', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.wish = { heldBack: { konnectivity: true } };
    hub.pass(distributeMs + 23 * hourMs);
    const plan = await hub.reconcile();
    expect(plan.konnectivity?.stage).toBe('distributing');
    expect(plan.lookAgainAt.getTime() - hub.now.getTime()).toBe(minuteMs);
    hub.pass(hourMs);
    expect(await stageOf(hub)).toBe('retiring');
  });

  it('goes on when the next CA was lost on the way', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.replaceText('cluster-proxy-signer', 'next.key', 'garbage');
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
  });

  it('of the agents changes their registration when the new CA signs, not before', async () => {
    const hub = await freshHub();
    const unit = () => organizationalUnitOf(hub.text('cluster-proxy-agent-signer', 'ca.crt'));
    const before = unit();
    hub.annotate('cluster-proxy-agent-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    expect(unit()).toBe(before);
    expect(hub.bundle('agent-ca')).toHaveLength(2);
    hub.pass(distributeMs);
    const { agents } = await hub.reconcile();
    expect(unit()).not.toBe(before);
    expect(agents!.signing.certificate.equals(hub.bundle('agent-ca')[0]!)).toBe(true);
    hub.pass(retireMs);
    await hub.reconcile();
    expect(hub.bundle('agent-ca')).toHaveLength(1);
  });

  it('never lets anybody be refused who is one stage behind, wherever its maker is killed', async () => {
    for (const killedAfter of [1, 2, 3, 4, 5, 6, Infinity]) {
      const hub = await freshHub();
      // What readers have loaded: each takes what is there at every step, or is one step behind.
      let bundles = [hub.bundle()];
      let leaves = leafNames.map((name) => hub.leaf(name));
      rotate(hub, `killed after ${killedAfter}`);
      for (let step = 0; step < 12; step++) {
        await hub.reconcile(step % 2 === 0 ? killedAfter : Infinity);
        const nowLeaves = leafNames.map((name) => hub.leaf(name));
        for (const bundle of [...bundles.slice(-1), hub.bundle()]) {
          for (const leaf of [...leaves, ...nowLeaves]) {
            expect(await isTrusted(leaf, bundle), `step ${step}, ${killedAfter}`).toBe(true);
          }
        }
        bundles = [...bundles, hub.bundle()];
        leaves = nowLeaves;
        hub.pass(distributeMs);
      }
      expect(bundles.some((bundle) => bundle.length === 2)).toBe(true);
      expect(hub.bundle()).toHaveLength(1);
    }
  });
});

it('gives new Secrets no type of their own choosing to those that exist', () => {
  const metadata = { name: 'a', namespace: 'b' };
  const observed = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'kubernetes.io/tls' };
  expect(makeSecret(metadata, {}, observed)['type']).toBe('kubernetes.io/tls');
  expect(makeSecret(metadata, {}, undefined)['type']).toBe('Opaque');
});
