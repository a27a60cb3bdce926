import { createPrivateKey } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentSignerName, agentSubject } from '../../src/base/agent-subject.ts';
import {
  exportKeyPem,
  generateKeys,
  importSigningKey,
  issueCertificate,
  makeCertificateRequest,
  parseCertificates,
  publicKeyDerOf,
} from '../../src/base/x509.ts';
import { connectGround, type Ground, type GroundCluster } from '../ground/kubernetes/ground.ts';
import { Program } from '../support/process.ts';
import { culvert, loggedLine } from '../support/world.ts';
import { HubClient } from './support/client.ts';
import { inNetworkOf } from './support/in-network.ts';
import { Installation, type WithConditions } from './support/installation.ts';
import { agentCertificate, brokerPods, hubNamespace, installNamespace } from './support/names.ts';
import { secretOf, textIn } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const dayMs = 24 * 3600_000;

interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

describe('a cluster that lies', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let liar: GroundCluster;
  let victim: GroundCluster;
  let installation: Installation;
  let directory: string;
  let brokerAddress: string;

  const pairIn = async (cluster: GroundCluster, namespace: string, name: string) => {
    const secret = await secretOf(cluster, namespace, name);
    return { cert: textIn(secret, 'tls.crt'), key: textIn(secret, 'tls.key') };
  };
  const ownPair = () => pairIn(liar, installNamespace, agentCertificate);

  /** A hand-made agent beside the brokers, where no firewall is: what it is refused is refused for what it shows. */
  const startAgent = async (name: string, cluster: string, { cert, key }: KeyPair) => {
    const folder = join(directory, name);
    await mkdir(folder);
    await writeFile(join(folder, 'tls.crt'), cert);
    await writeFile(join(folder, 'tls.key'), key);
    const {
      command,
      args = [],
      env,
    } = culvert('agent', [
      ...['--cluster', cluster, '--certificate-dir', folder, '--tunnels', '1'],
      ...['--broker-url', `wss://${brokerAddress}:8091`, '--server-name', 'localhost'],
      ...['--ca-file', join(directory, 'ca.crt'), '--kube-apiserver', '127.0.0.1:1'],
    ]);
    const entered = inNetworkOf(hub, command, args);
    return new Program({ ...entered, name: `agent: ${name}`, env: { ...entered.env, ...env } });
  };
  /** Refused connections that the brokers counted with that status. */
  const counted = async (status: number) => {
    const { items } = await hub.get<{ items: { status: { podIP: string } }[] }>(
      ...['-n', hubNamespace, 'pods', ...brokerPods],
    );
    let sum = 0;
    for (const { status: pod } of items) {
      const metrics = await hub.run('curl', ['--silent', `http://${pod.podIP}:8092/metrics`]);
      const line = `culvert_broker_rejected_connections_total{status="${status}"} `;
      const found = metrics.split('\n').find((text) => text.startsWith(line));
      sum += Number(found?.slice(line.length) ?? 0);
    }
    return sum;
  };
  const brokerLog = () =>
    hub.kubectl(['-n', hubNamespace, 'logs', ...brokerPods, '--tail=-1', '--prefix=false']);
  /** That an agent which shows this is told the status, and the brokers log and count it. */
  const expectRefused = async (
    name: string,
    status: 401 | 403,
    cluster: string,
    pair: KeyPair,
    why: RegExp,
  ) => {
    const before = await counted(status);
    await using agent = await startAgent(name, cluster, pair);
    const line = await loggedLine(agent, 'no connection to the broker');
    expect(line).toMatchObject({ code: 'rejected', status });
    expect(line['why']).toMatch(why);
    expect(await counted(status)).toBeGreaterThan(before);
    expect(await brokerLog()).toMatch(why);
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    [liar, victim] = ground.managed as [GroundCluster, GroundCluster];
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    directory = await mkdtemp(join(tmpdir(), 'culvert-liar-'));
    const ca = textIn(await secretOf(hub, hubNamespace, 'proxy-server-ca'), 'ca.crt');
    await writeFile(join(directory, 'ca.crt'), ca);
    const { spec } = await hub.get<{ spec: { clusterIP: string } }>(
      ...['-n', hubNamespace, 'service', 'proxy-entrypoint'],
    );
    brokerAddress = spec.clusterIP;
  }, 300_000);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is let in under its own name: what follows is refused for what it says', async () => {
    await using agent = await startAgent('honest', liar.name, await ownPair());
    const { broker } = await loggedLine(agent, 'connected to the broker');
    expect(broker).toBe(`${brokerAddress}:8091`);
  });

  it('does not get in under the name of another', async () => {
    const why = new RegExp(`speaks for cluster ${liar.name} only, not for ${victim.name}`);
    await expectRefused('liar', 403, victim.name, await ownPair(), why);
  });

  it('does not get in with an expired certificate', async () => {
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
    await expectRefused('expired', 401, liar.name, pair, /expired|is over|ended/);
  });

  it('does not get in with the certificate of a konnectivity client', async () => {
    const pair = await pairIn(hub, hubNamespace, 'proxy-client');
    await expectRefused('client', 401, liar.name, pair, /certificate/);
  });

  it('opens nothing where konnectivity clients connect', async () => {
    await using client = await HubClient.open(hub, await ownPair());
    const result = await client.run('healthz', victim);
    expect(result.ok).toBe(false);
    expect(result.error).toMatch(/certificate|handshake|EOF|reset/);
  });

  describe('asks, as its own klusterlet', () => {
    const asked: string[] = [];
    afterAll(() => hub.kubectl(['delete', 'csr', ...asked, '--ignore-not-found']));

    it.each([
      { what: 'a certificate that speaks for another cluster', subject: 'victim', label: 'liar' },
      { what: 'the same in the name of the other', subject: 'victim', label: 'victim' },
      { what: 'its own in the name of another', subject: 'liar', label: 'victim' },
    ])('for $what, and is denied', async ({ subject, label }) => {
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
