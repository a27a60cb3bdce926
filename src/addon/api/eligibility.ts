import type { ManagedClusterAddOn } from './managed-cluster-addon.ts';
import type { ManagedCluster } from './managed-cluster.ts';
import { addonName } from './names.ts';

/** Whether the agent of a cluster may have certificates of the hub. */
export type AgentEligibility =
  | { readonly kind: 'eligible'; readonly addon: ManagedClusterAddOn }
  | { readonly kind: 'ineligible'; readonly reason: IneligibleReason; readonly message: string };

export type IneligibleReason = 'NoCluster' | 'ClusterNotAccepted' | 'NoAddOn';

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
): AgentEligibility {
  const ineligible = (reason: IneligibleReason, message: string) =>
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
  return { kind: 'eligible', addon };
}
