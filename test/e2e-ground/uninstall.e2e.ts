import { beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { Installation } from './support/installation.ts';
import { leftIn, nothing } from './support/left.ts';
import { hubNamespace, installNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';

const timeoutMs = 90_000;
const clusterKinds = 'clusterroles,clusterrolebindings';

describe('helm uninstall', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;

  const ours = async (cluster: GroundCluster, resources: string) => {
    const names = await cluster.kubectl(['get', resources, '-o', 'name']);
    return names.split('\n').filter((name) => name.includes('cluster-proxy'));
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    await installation.remove();
  }, 300_000);

  it('helm uninstall removes the addon and its agents from every cluster, and leaves their namespace', async () => {
    for (const cluster of ground.managed) {
      // The agent created its lease itself. The lease has no owner and is not renewed any more.
      const kept = ['lease/cluster-proxy'];
      const attempt = async () => {
        const left = await leftIn(cluster, installNamespace);
        return nothing(left.filter((name) => !kept.includes(name)));
      };
      await eventually(ground, attempt, { what: `end of the agent of ${cluster.name}`, timeoutMs });
      await cluster.kubectl(['get', 'namespace', installNamespace]);
      expect(await ours(cluster, clusterKinds)).toEqual([]);
    }
  });

  it('helm uninstall leaves the CAs on the hub, and nothing else', async () => {
    // A later installation uses the same CAs, so that clients can keep their trusted CA.
    const kept = [
      'lease/cluster-proxy-addon-manager',
      'secret/cluster-proxy-agent-signer',
      'secret/cluster-proxy-signer',
    ];
    const attempt = async () => {
      const left = await leftIn(hub, hubNamespace, 'hub');
      return nothing(left.filter((name) => !kept.includes(name)));
    };
    await eventually(ground, attempt, { what: `empty namespace ${hubNamespace}`, timeoutMs });
    expect(await leftIn(hub, hubNamespace, 'hub')).toEqual(kept);
    expect(await ours(hub, clusterKinds)).toEqual([]);
    for (const { name } of ground.managed) {
      const left = await leftIn(hub, name, 'hub');
      expect(left.filter((each) => each.includes('cluster-proxy'))).toEqual([]);
    }
  });

  it('helm uninstall lets the same release be installed again', async () => {
    await installation.apply();
    await installation.settle();
    expect(await installation.isDeployed()).toBe(true);
  });
});
