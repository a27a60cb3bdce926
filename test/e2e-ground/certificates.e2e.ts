import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { Installation } from './support/installation.ts';
import { agentCertificate, brokerPods, hubNamespace, installNamespace } from './support/names.ts';
import { certificatesIn, leafOf, mountedFiles, secretOf, textIn } from './support/secrets.ts';
import { eventually } from './support/state.ts';
import { endlessPath } from './support/target.ts';

const annotation = (name: string) => `proxy.open-cluster-management.io/${name}`;
/** The kubelet brings files of Secrets up to date at its own pace, and programs look at theirs every 5 s. */
const timeoutMs = 120_000;

const signers = [
  {
    signer: 'cluster-proxy-signer',
    bundle: 'proxy-server-ca',
    volume: 'proxy-server-ca-certs',
    reloaded: 'certificate, key and client CA of the konnectivity bridge',
  },
  {
    signer: 'cluster-proxy-agent-signer',
    bundle: 'agent-ca',
    volume: 'agent-ca',
    reloaded: "CA of agents' certificates",
  },
] as const;

describe('Certificates under load, with transfers running', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let loads: RunningLoad[];

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    client = await HubClient.open(hub);
  }, 300_000);
  afterAll(() => client?.[Symbol.asyncDispose]());

  beforeEach(async () => {
    loads = ground.managed.map((cluster) => client.load(cluster, [`--path=${endlessPath}`]));
    for (const load of loads) {
      const goesOn = async () => load.counts.bytes > 0 && load.counts.requests > 0;
      await eventually(ground, goesOn, { what: `load at ${load.cluster}`, timeoutMs: 20_000 });
    }
  });
  afterEach(async () => {
    await Promise.all(loads.map((load) => load.stop()));
  });

  /** Expects that no request was refused, and that earlier transfers continue. */
  const expectNothingLost = async () => {
    for (const load of loads) {
      const { bytes } = load.counts;
      const goesOn = async () => load.counts.bytes > bytes || load.counts.failed > 0;
      await eventually(ground, goesOn, { what: `transfer of ${load.cluster}`, timeoutMs: 20_000 });
      const { requests, slowestMs, failed, errors } = await load.stop();
      console.log(`${load.cluster}: ${requests} requests, the slowest ${slowestMs} ms`);
      expect({ cluster: load.cluster, failed, errors: errors ?? [] }).toEqual({
        cluster: load.cluster,
        failed: 0,
        errors: [],
      });
    }
  };
  const until = (what: string, attempt: () => Promise<boolean>) =>
    eventually(ground, attempt, { what, timeoutMs });
  const annotate = (secret: string, values: Readonly<Record<string, string>>) => {
    const pairs = Object.entries(values).map(([name, value]) => `${annotation(name)}=${value}`);
    const command = ['annotate', 'secret', secret, '--overwrite', ...pairs];
    return hub.kubectl(['-n', hubNamespace, ...command]);
  };
  /** Simulates the end of the hours that a stage lasts. */
  const letHoursPass = async ({ signer, bundle }: (typeof signers)[number]) => {
    const past = new Date(Date.now() - 5 * 3600_000).toISOString();
    const { metadata } = await secretOf(hub, hubNamespace, signer);
    await annotate(bundle, { 'trusted-since': past });
    for (const { name } of ground.managed) {
      const since = `${annotation('agent-signer-since')}=${past}`;
      const addOn = ['managedclusteraddon', 'cluster-proxy', '--overwrite', since];
      await hub.kubectl(['-n', name, 'annotate', ...addOn]);
    }
    if (metadata.annotations?.[annotation('reissued-since')] === undefined) return;
    await annotate(signer, { 'reissued-since': past });
  };
  const bundleSize = async ({ bundle }: (typeof signers)[number]) =>
    certificatesIn(await secretOf(hub, hubNamespace, bundle), 'ca.crt').length;
  const isMountedEverywhere = async ({ bundle, volume }: (typeof signers)[number]) => {
    const pem = textIn(await secretOf(hub, hubNamespace, bundle), 'ca.crt').trim();
    const onHub = await mountedFiles(hub, volume, 'ca.crt');
    if (bundle === 'agent-ca') return onHub.every(({ text }) => text === pem);
    const onClusters = await Promise.all(
      ground.managed.map((cluster) => mountedFiles(cluster, 'ca', 'ca.crt')),
    );
    return [...onHub, ...onClusters.flat()].every(({ text }) => text === pem);
  };

  /** Whether each broker has read the files since the kubelet brought them: it looks every 5 s. */
  const isReadByBrokers = async ({ volume, reloaded }: (typeof signers)[number]) => {
    const pods = await hub.get<{ items: Pod[] }>('-n', hubNamespace, 'pods', ...brokerPods);
    const files = await mountedFiles(hub, volume, 'ca.crt');
    for (const { metadata } of pods.items) {
      const file = files.find(({ podUid }) => podUid === metadata.uid);
      const log = await hub.kubectl(['-n', hubNamespace, 'logs', metadata.name]);
      const isReload = (line: string) =>
        line.includes('"event":"files reloaded"') && line.includes(`"what":"${reloaded}"`);
      const last = log.split('\n').findLast(isReload);
      if (file === undefined || last === undefined) return false;
      const { time } = JSON.parse(last) as { time: string };
      if (new Date(time) < file.since) return false;
    }
    return true;
  };

  it('Each certificate of the hub can be deleted under load without a lost request', async () => {
    for (const name of ['proxy-server', 'agent-server', 'proxy-client']) {
      const { serialNumber } = await leafOf(hub, hubNamespace, name);
      await hub.kubectl(['-n', hubNamespace, 'delete', 'secret', name]);
      await until(`another certificate in ${name}`, async () => {
        return (await leafOf(hub, hubNamespace, name)).serialNumber !== serialNumber;
      });
    }
    await client.readSecrets();
    await expectNothingLost();
  });

  it('The certificate of an agent can be deleted under load without a lost request', async () => {
    for (const cluster of ground.managed) {
      const { serialNumber } = await leafOf(cluster, installNamespace, agentCertificate);
      await cluster.kubectl(['-n', installNamespace, 'delete', 'secret', agentCertificate]);
      await until(`another certificate of the agent of ${cluster.name}`, async () => {
        const leaf = await leafOf(cluster, installNamespace, agentCertificate);
        return leaf.serialNumber !== serialNumber;
      });
    }
    await expectNothingLost();
  });

  it.each(signers)(
    'The CA $signer is replaced without a moment in which a client or agent is refused',
    async (signer) => {
      const before = textIn(await secretOf(hub, hubNamespace, signer.signer), 'ca.crt');
      await annotate(signer.signer, { 'rotate-ca': String(Date.now()) });

      await until(`a second CA in ${signer.bundle}`, async () => (await bundleSize(signer)) === 2);
      const current = async () =>
        textIn(await secretOf(hub, hubNamespace, signer.signer), 'ca.crt');
      expect(await current()).toBe(before);
      await until('both CAs with everybody', () => isMountedEverywhere(signer));
      await until('brokers that have read them', () => isReadByBrokers(signer));
      await client.readSecrets();

      await letHoursPass(signer);
      await until(`another CA that signs in ${signer.signer}`, async () => {
        return (await current()) !== before;
      });
      await until('certificates of the new CA', () => areIssuedBy(signer.signer));
      await client.readSecrets();
      expect(await bundleSize(signer)).toBe(2);
      await until('both CAs with everybody', () => isMountedEverywhere(signer));

      await until(`the end of the old CA in ${signer.bundle}`, async () => {
        await letHoursPass(signer);
        return (await bundleSize(signer)) === 1;
      });
      await until('the new CA alone with everybody', () => isMountedEverywhere(signer));
      await client.readSecrets();
      await expectNothingLost();

      // A client that starts now has no earlier files.
      for (const cluster of ground.managed) {
        await cluster.kubectl(['-n', installNamespace, 'delete', 'pods', '--all', '--wait=false']);
      }
      for (const cluster of ground.managed) {
        const isServed = async () => (await client.run('healthz', cluster)).ok;
        await until(`${cluster.name} with a new agent`, isServed);
      }
    },
    400_000,
  );

  async function areIssuedBy(signer: string): Promise<boolean> {
    const [ca] = certificatesIn(await secretOf(hub, hubNamespace, signer), 'ca.crt');
    const leaves =
      signer === 'cluster-proxy-signer'
        ? ['proxy-server', 'agent-server', 'proxy-client'].map((name) =>
            leafOf(hub, hubNamespace, name),
          )
        : ground.managed.map((cluster) => leafOf(cluster, installNamespace, agentCertificate));
    return (await Promise.all(leaves)).every((leaf) => leaf.checkIssued(ca!));
  }
});

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string };
}
