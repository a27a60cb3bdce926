import { createPrivateKey } from 'node:crypto';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentSignerName, agentSubject } from '../../src/base/names/agent-subject.ts';
import {
  exportKeyPem,
  generateKeys,
  importSigningKey,
  issueCertificate,
  makeCertificateRequest,
  parseCertificates,
  publicKeyDerOf,
} from '../../src/base/x509/index.ts';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient } from './support/client.ts';
import { expectAccepted, expectRefused, HandMadeAgents } from './support/hand-made-agents.ts';
import { Installation, type WithConditions } from './support/installation.ts';
import { agentCertificate, hubNamespace, installNamespace } from './support/names.ts';
import { secretOf, textIn } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const dayMs = 24 * 3600_000;

describe('A cluster that lies', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let liar: GroundCluster;
  let victim: GroundCluster;
  let installation: Installation;
  let agents: HandMadeAgents;

  const pairIn = async (cluster: GroundCluster, namespace: string, name: string) => {
    const secret = await secretOf(cluster, namespace, name);
    return { cert: textIn(secret, 'tls.crt'), key: textIn(secret, 'tls.key') };
  };
  const ownPair = () => pairIn(liar, installNamespace, agentCertificate);

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    [liar, victim] = ground.managed as [GroundCluster, GroundCluster];
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    agents = await HandMadeAgents.open(hub);
  }, 300_000);
  afterAll(() => agents?.[Symbol.asyncDispose]());

  it('A cluster connects under its own name, so the next refusals are caused by its lies', async () => {
    await expectAccepted(agents, 'honest', liar.name, await ownPair());
  });

  it('A cluster that lies is refused under the name of another cluster', async () => {
    const why = new RegExp(`speaks for cluster ${liar.name} only, not for ${victim.name}`);
    await expectRefused(agents, 'liar', victim.name, await ownPair(), { status: 403, why });
  });

  it('A cluster that lies is refused with an expired certificate', async () => {
    const signer = await secretOf(hub, hubNamespace, 'cluster-proxy-agent-signer');
    const [authority] = parseCertificates(textIn(signer, 'ca.crt'));
    const der = createPrivateKey(textIn(signer, 'ca.key')).export({ type: 'pkcs8', format: 'der' });
    const { privateKey } = await generateKeys('ecdsa');
    const content = {
      subject: agentSubject(liar.name, 'cluster-proxy'),
      publicKeyDer: await publicKeyDerOf(privateKey),
      notBefore: new Date(Date.now() - 2 * dayMs),
      notAfter: new Date(Date.now() - dayMs),
      purposes: ['clientAuth'],
    } as const;
    const expired = await issueCertificate(content, await importSigningKey(der), authority);
    const pair = { cert: expired.pem, key: await exportKeyPem(privateKey) };
    const why = /expired|is over|ended/;
    await expectRefused(agents, 'expired', liar.name, pair, { status: 401, why });
  });

  it('A cluster that lies is refused with the certificate of a konnectivity client', async () => {
    const pair = await pairIn(hub, hubNamespace, 'proxy-client');
    await expectRefused(agents, 'client', liar.name, pair, { status: 401, why: /certificate/ });
  });

  it('A cluster that lies opens no connection as a konnectivity client', async () => {
    await using client = await HubClient.open(hub, await ownPair());
    const result = await client.run('healthz', victim);
    expect(result.ok).toBe(false);
    expect(result.error).toMatch(/certificate|handshake|EOF|reset|broken pipe/);
  });

  describe('The certificate requests of a cluster that lies, as its own klusterlet', () => {
    const asked: string[] = [];
    afterAll(() => hub.kubectl(['delete', 'csr', ...asked, '--ignore-not-found']));

    it.each([
      { what: 'a certificate that speaks for another cluster', subject: 'victim', label: 'liar' },
      {
        what: 'a certificate for another cluster in the name of that cluster',
        subject: 'victim',
        label: 'victim',
      },
      {
        what: 'its own certificate in the name of another cluster',
        subject: 'liar',
        label: 'victim',
      },
    ])('A cluster that lies requests $what, and is denied', async ({ subject, label }) => {
      const names: Readonly<Record<string, string>> = { liar: liar.name, victim: victim.name };
      const request = await makeCertificateRequest(
        agentSubject(names[subject]!, 'cluster-proxy'),
        await generateKeys('ecdsa'),
        ['cluster-proxy.addon.open-cluster-management.io'],
      );
      const object = {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: {
          generateName: `addon-${names[label]}-cluster-proxy-`,
          labels: {
            'open-cluster-management.io/cluster-name': names[label],
            'open-cluster-management.io/addon-name': 'cluster-proxy',
          },
        },
        spec: {
          request: Buffer.from(request).toString('base64'),
          signerName: agentSignerName,
          usages: ['digital signature', 'key encipherment', 'client auth'],
        },
      };
      const kubeconfig = join(dirname(liar.logs), 'hub-kubeconfig/kubeconfig');
      const create = [`--kubeconfig=${kubeconfig}`, 'create', '-f', '-', '-o', 'name'];
      const created = await liar.run(ground.programs.kubectl, create, JSON.stringify(object));
      const name = created.trim().split('/')[1]!;
      asked.push(name);
      const denied = await eventually(
        ground,
        async () => {
          const { status } = await hub.get<WithConditions>('csr', name);
          return status?.conditions?.find(({ type }) => type === 'Denied');
        },
        { what: `denial of ${name}`, timeoutMs: 20_000 },
      );
      expect(denied.message).toContain(victim.name);
    });
  });
});
