import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';
import type { ManagedClusterAddOn } from './managed-cluster-addon.ts';
import { addonName } from './names.ts';

/** The fields of a ManagedCluster that the addon uses. */
export type ManagedCluster = Readonly<ReturnType<typeof parseManagedCluster>>;

export function parseManagedCluster({ metadata, spec }: KubeObject) {
  return {
    name: metadata.name,
    /**
     * Whether an administrator of the hub has accepted the cluster. The addon makes nothing for
     * other clusters.
     */
    isAccepted: fields(spec).hubAcceptsClient === true,
    isDeleting: metadata.deletionTimestamp !== undefined,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
  };
}

/** Why a cluster gets nothing. */
export function notAccepted(cluster: string): string {
  return `the hub does not accept ManagedCluster ${cluster}; set its spec.hubAcceptsClient to true`;
}

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
  if (!cluster.isAccepted) return ineligible('ClusterNotAccepted', notAccepted(name));
  if (addon === undefined || addon.isDeleting) {
    return ineligible('NoAddOn', `there is no ManagedClusterAddOn ${name}/${addonName}`);
  }
  return { kind: 'eligible', addon } as const;
}
