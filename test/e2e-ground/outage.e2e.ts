import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { Installation } from './support/installation.ts';
import { eventually } from './support/state.ts';
import { endlessPath } from './support/target.ts';

const timeoutMs = 60_000;

describe('Agents that connect through the kube-apiserver of the hub', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let transfers: RunningLoad[];

  const goOn = async (what: string) => {
    for (const transfer of transfers) {
      const { bytes } = transfer.counts;
      const attempt = async () => transfer.counts.bytes > bytes || transfer.counts.failed > 0;
      await eventually(ground, attempt, { what: `${what} in ${transfer.cluster}`, timeoutMs });
    }
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
    client = await HubClient.open(hub);
    const args = ['--workers=0', `--path=${endlessPath}`];
    transfers = ground.managed.map((cluster) => client.load(cluster, args));
  }, 300_000);
  afterAll(async () => {
    await Promise.all((transfers ?? []).map((transfer) => transfer.stop()));
    await client?.[Symbol.asyncDispose]();
  });

  it('Agents keep their open connections when the kube-apiserver of the hub is killed and comes back', async () => {
    await goOn('transfer');
    await hub.kill('kube-apiserver');
    await hub.startAgain('kube-apiserver');
    await eventually(ground, () => installation.isDeployed(), { what: 'hub', timeoutMs });
    for (const cluster of ground.managed) {
      const isServed = async () => (await client.run('healthz', cluster)).ok;
      await eventually(ground, isServed, { what: `tunnel of ${cluster.name}`, timeoutMs });
    }
    await goOn('transfer from before');
    for (const transfer of transfers) {
      const { failed, errors } = await transfer.stop();
      expect({ failed, errors: errors ?? [] }).toEqual({ failed: 0, errors: [] });
    }
    await installation.settle();
  });
});
