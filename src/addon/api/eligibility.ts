import type { ManagedClusterAddOn } from './managed-cluster-addon.ts';
import type { ManagedCluster } from './managed-cluster.ts';
import { addonName } from './names.ts';

/** Whether the hub gives certificates to the agent of a cluster. */
export type ServedAgent =
  | { readonly t: 'served'; readonly addon: ManagedClusterAddOn }
  | { readonly t: 'unserved'; readonly reason: UnservedReason; readonly message: string };

export type UnservedReason = 'NoCluster' | 'ClusterNotAccepted' | 'NoAddOn';

/**
 * Served is the agent of a cluster that is accepted and has the addon, while neither is going away.
 *
 * @param cluster undefined: unknown to the hub (or not seen yet); the addon likewise
 */
export function servedAgent(
  name: string,
  cluster: ManagedCluster | undefined,
  addon: ManagedClusterAddOn | undefined,
): ServedAgent {
  const unserved = (reason: UnservedReason, message: string) =>
    ({ t: 'unserved', reason, message }) as const;
  if (cluster === undefined || cluster.isDeleting) {
    return unserved('NoCluster', `there is no ManagedCluster ${name}`);
  }
  if (!cluster.isAccepted) {
    const message = `the hub does not accept ManagedCluster ${name}; set its spec.hubAcceptsClient to true`;
    return unserved('ClusterNotAccepted', message);
  }
  if (addon === undefined || addon.isDeleting) {
    return unserved('NoAddOn', `there is no ManagedClusterAddOn ${name}/${addonName}`);
  }
  return { t: 'served', addon };
}
