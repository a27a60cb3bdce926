import type { ManagedClusterAddOn } from './managed-cluster-addon.ts';
import type { ManagedCluster } from './managed-cluster.ts';
import { addonName } from './names.ts';

/**
 * An agent is eligible while its cluster is accepted and has the addon, and neither is being
 * deleted.
 *
 * @param cluster undefined: the hub does not know the cluster, or the cache has not seen it yet.
 *   The same applies to the addon.
 */
export function agentEligibility(
  name: string,
  cluster: ManagedCluster | undefined,
  addon: ManagedClusterAddOn | undefined,
) {
  const ineligible = (reason: 'NoCluster' | 'ClusterNotAccepted' | 'NoAddOn', message: string) =>
    ({ kind: 'ineligible', reason, message }) as const;
  if (cluster === undefined || cluster.isDeleting) {
    return ineligible('NoCluster', `there is no ManagedCluster ${name}`);
  }
  if (!cluster.isAccepted) {
    const message = `the hub does not accept ManagedCluster ${name}; set its spec.hubAcceptsClient to true`;
    return ineligible('ClusterNotAccepted', message);
  }
  if (addon === undefined || addon.isDeleting) {
    return ineligible('NoAddOn', `there is no ManagedClusterAddOn ${name}/${addonName}`);
  }
  return { kind: 'eligible', addon } as const;
}
