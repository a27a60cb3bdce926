import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient } from './support/client.ts';
import { deploymentConfig, egressProxyConfig, Installation } from './support/installation.ts';
import { addon, agentCertificate, installNamespace, testNamespace } from './support/names.ts';
import { rejoin } from './support/rejoin.ts';
import { leafOf } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const timeoutMs = 150_000;

describe.each(['cluster1', '2nd-cluster'])(
  'The ManagedCluster %s that is deleted and created again at once',
  (name) => {
    let ground: Ground;
    let hub: GroundCluster;
    let cluster: GroundCluster;
    let installation: Installation;
    let client: HubClient;
    let clusterBefore: string;
    let addOnBefore: string;
    let serialBefore: string;

    const uidOf = async (...args: string[]) =>
      (await hub.get<{ metadata: { uid: string } }>(...args)).metadata.uid;
    const addOnUid = () => uidOf('-n', name, 'managedclusteraddon', addon);

    beforeAll(async () => {
      ground = await connectGround();
      ({ hub } = ground);
      cluster = ground.managed.find((one) => one.name === name)!;
      installation = new Installation(ground);
      await installation.apply();
      await installation.settle();
      client = await HubClient.open(hub);
      clusterBefore = await uidOf('managedcluster', name);
      addOnBefore = await addOnUid();
      serialBefore = (await leafOf(cluster, installNamespace, agentCertificate)).serialNumber;
    }, 300_000);
    afterAll(() => client?.[Symbol.asyncDispose]());

    it('The recreated ManagedCluster joins as another object of the same name', async () => {
      await hub.kubectl(['delete', 'managedcluster', name, '--timeout=120s']);
      await rejoin(ground, cluster);
      expect(await uidOf('managedcluster', name)).not.toBe(clusterBefore);
    });

    it('The recreated ManagedCluster gets its agent automatically, with a certificate of its own', async () => {
      if (cluster.plan.egress === 'proxy') {
        // The configurations in the namespace of the cluster were deleted with it. The user writes them again.
        await hub.apply(deploymentConfig(name, { proxyConfig: egressProxyConfig }));
        await installation.configure(name, 'e2e');
      }
      await eventually(ground, () => installation.isAvailable(name), {
        what: `addon Available in ${name}, which was made again`,
        timeoutMs,
      });
      expect(await addOnUid()).not.toBe(addOnBefore);
      const leaf = await leafOf(cluster, installNamespace, agentCertificate);
      expect(leaf.serialNumber).not.toBe(serialBefore);
    });

    it('The recreated ManagedCluster is reached through the hub', async () => {
      await eventually(ground, async () => (await client.run('healthz', cluster)).ok, {
        what: `tunnel of ${name}`,
        timeoutMs,
      });
      const result = await client.run('pods', cluster, [`--namespace=${testNamespace}`]);
      expect(result).toMatchObject({ ok: true, pods: ['target'], nodes: [name] });
    });
  },
);
