import { describe, expect, it } from 'vitest';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import { verifyCsr } from '../../../src/addon/csr/verify-csr.ts';
import { clusterAlias } from '../../../src/base/names/cluster-alias.ts';
import { agentDnsName, agentSubject } from '../../../src/base/names/agent-subject.ts';
import {
  brokenPem,
  csr,
  type CsrParts,
  kubeSigner,
  mixedKeys,
  pemWith,
  registeredSubject,
  weakKeys,
} from './csr-objects.ts';
import { addOn } from '../api/ocm-objects.ts';

const withToken = addOn({ status: { kubeClientDriver: 'token' } });
const check = async (parts: CsrParts = {}, addon = addOn()) =>
  verifyCsr(await csr(parts), addon, agentRegistrations('cluster1', 'signer-1'));

const own = registeredSubject();
const foreign = agentSubject('cluster2', 'cluster-proxy');
type Parts = CsrParts | (() => Promise<CsrParts>);
const made = (parts: Parts) => (typeof parts === 'function' ? parts() : parts);

describe('verifyCsr', () => {
  it.each<[string, Parts]>([
    ['what the klusterlet asks for', {}],
    ['the certificate for the kube-apiserver', { signer: kubeSigner }],
    ['no names besides the subject', { dnsNames: [] }],
    ['client auth alone', { spec: { usages: ['client auth'] } }],
    ['groups in another order', { subject: { organizations: own.organizations.toReversed() } }],
  ])('verifyCsr accepts %s', async (_, parts) => {
    expect(await check(await made(parts))).toMatchObject({ kind: 'passed' });
  });

  it("verifyCsr accepts the agent's certificate if the kube-apiserver takes tokens, but not the certificate for it", async () => {
    expect(await check({}, withToken)).toMatchObject({ kind: 'passed' });
    expect(await check({ signer: kubeSigner }, withToken)).toMatchObject({
      kind: 'refused',
      reason: 'ForeignSigner',
      sentence: expect.stringContaining(kubeSigner),
    });
  });

  it('verifyCsr refuses a request for a cluster whose name is the alias of another one', async () => {
    const alias = await clusterAlias('cluster1');
    const addon = { ...addOn(), cluster: alias };
    const request = await csr({ subject: agentSubject(alias, 'cluster-proxy') });
    const registrations = agentRegistrations(alias, 'signer-1');
    expect(await verifyCsr(request, addon, registrations)).toMatchObject({
      kind: 'refused',
      sentence: expect.stringContaining('it has the form of an alias'),
    });
  });

  const { organizations, commonName } = own;
  it.each<[string, string, string, Parts]>([
    [
      'another signer',
      'ForeignSigner',
      'kubelet',
      { spec: { signerName: 'kubernetes.io/kubelet-serving' } },
    ],
    ['garbage', 'Unreadable', 'BEGIN CERTIFICATE REQUEST', { pem: 'garbage' }],
    ['nothing', 'Unreadable', 'BEGIN CERTIFICATE REQUEST', { spec: { request: undefined } }],
    ['a broken signature', 'Unproven', 'the key', async () => ({ pem: await brokenPem() })],
    [
      'the key of another requester',
      'Unproven',
      'the key',
      async () => ({ keys: await mixedKeys() }),
    ],
    ['a weak key', 'WeakKey', '1024 bits', async () => ({ keys: await weakKeys() })],
    ['the subject of another cluster', 'ForeignSubject', 'cluster2', { subject: foreign }],
    [
      'the user of another cluster',
      'ForeignSubject',
      'common name',
      { subject: { commonName: foreign.commonName } },
    ],
    [
      'a user whose name begins alike',
      'ForeignSubject',
      'common name',
      { subject: { commonName: `${commonName}2` } },
    ],
    ['no user', 'ForeignSubject', 'common name is ""', { subject: { commonName: '' } }],
    [
      'another user besides its own',
      'ForeignSubject',
      'common name',
      async () => ({ pem: await pemWith({ subject: [{ CN: [foreign.commonName] }] }) }),
    ],
    [
      'the group of another cluster besides its own',
      'ForeignSubject',
      'organizations',
      { subject: { organizations: [...organizations, ...foreign.organizations] } },
    ],
    [
      'a group of administrators besides its own',
      'ForeignSubject',
      '"system:masters"',
      { subject: { organizations: [...organizations, 'system:masters'] } },
    ],
    [
      'a group too few',
      'ForeignSubject',
      'organizations',
      { subject: { organizations: organizations.slice(1) } },
    ],
    [
      'a group twice',
      'ForeignSubject',
      'organizations',
      { subject: { organizations: [...organizations, organizations[0]!] } },
    ],
    ['no groups', 'ForeignSubject', 'organizations are none', { subject: { organizations: [] } }],
    ...[['signer-0'], [], ['signer-1', 'more']].map(
      (organizationalUnits): [string, string, string, Parts] => [
        `the units ${JSON.stringify(organizationalUnits)}`,
        'ForeignSubject',
        'organizational units',
        { subject: { organizationalUnits } },
      ],
    ),
    [
      'more in its subject',
      'ForeignSubject',
      '"L=Berlin"',
      async () => ({ pem: await pemWith({ subject: [{ L: ['Berlin'] }] }) }),
    ],
    [
      "the name of the hub's server",
      'ForeignSubject',
      '"proxy-entrypoint.hub.svc"',
      { dnsNames: [agentDnsName, 'proxy-entrypoint.hub.svc'] },
    ],
    [
      'an address',
      'ForeignSubject',
      '"127.0.0.1"',
      async () => ({ pem: await pemWith({ ip: '127.0.0.1' }) }),
    ],
    [
      'the usages of a server',
      'ForeignSubject',
      'server auth',
      { spec: { usages: ['client auth', 'server auth'] } },
    ],
    [
      'the usages of a CA',
      'ForeignSubject',
      'cert sign',
      { spec: { usages: ['client auth', 'cert sign'] } },
    ],
    [
      'no usage of a client',
      'ForeignSubject',
      'lack "client auth"',
      { spec: { usages: ['digital signature'] } },
    ],
  ])('verifyCsr refuses %s as %s', async (_, reason, words, parts) => {
    expect(await check(await made(parts))).toMatchObject({
      kind: 'refused',
      reason,
      sentence: expect.stringContaining(words),
    });
  });

  it('verifyCsr quotes and shortens the content of a request in messages', async () => {
    const many = Array.from({ length: 50 }, (_, n) => `${n}\n${'x'.repeat(4000)}`);
    const refusal = await check({ subject: { organizations: many } });
    const { sentence } = refusal as Extract<typeof refusal, { kind: 'refused' }>;
    expect(sentence.length).toBeLessThan(3000);
    expect(sentence).toContain('and 45 more');
    expect(sentence).not.toContain('\n');
  });
});
