import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ground, GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { hasCondition } from '../../../testkit/ground/kubernetes/ocm.ts';
import { directoriesOf } from '../../../testkit/ground/kubernetes/state.ts';
import { eventually } from './state.ts';

const timeoutMs = 120_000;
const agentNamespace = 'open-cluster-management-agent';

/**
 * Registers a cluster with the hub again, as `clusteradm join` does. Its klusterlet starts with a
 * bootstrap token and without a certificate.
 */
export async function rejoin(ground: Ground, cluster: GroundCluster): Promise<void> {
  const { hub } = ground;
  await cluster.kill('ocm-work');
  await cluster.kill('ocm-registration');
  const secret = ['delete', 'secret', 'hub-kubeconfig-secret', '--ignore-not-found'];
  await cluster.kubectl(['-n', agentNamespace, ...secret]);
  const directory = join(directoriesOf(cluster.name).root, 'hub-kubeconfig');
  await rm(directory, { recursive: true });
  await mkdir(directory);
  await cluster.startAgain('ocm-registration');
  const adapter = { get: <T>(...args: string[]) => hub.get<T>(...args) };
  await eventually(ground, () => hasCondition(adapter, cluster.name, 'ManagedClusterJoined'), {
    what: `ManagedCluster ${cluster.name} that has joined`,
    timeoutMs,
  });
  await eventually(ground, async () => existsSync(join(directory, 'kubeconfig')), {
    what: `hub kubeconfig of ${cluster.name}`,
    timeoutMs,
  });
  await cluster.startAgain('ocm-work');
}
