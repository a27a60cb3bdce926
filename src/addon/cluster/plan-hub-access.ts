import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { AccessOutcome } from './addon-status.ts';
import { hubAccess, hubAccessRefs } from './hub-access.ts';
import { hubSubject } from './registrations.ts';
import type { TunnelRole } from '../hub/hub-state.ts';

/** What is to be done about the rights of one cluster's agent on the hub. */
export interface HubAccessPlan {
  readonly apply: readonly KubeObject[];
  /** Those of them that exist are to be deleted. */
  readonly remove: readonly KubeRef[];
  /** What to say of it once it is done. */
  readonly outcome: AccessOutcome;
}

/**
 * Rights are for the agent of a cluster that the hub accepts, and for nobody else: whoever stops accepting a cluster takes them away.
 *
 * @param tunnel undefined: agents do not go through the kube-apiserver
 * @param hubNamespace where bindings to `tunnel` are, or were
 */
export function planHubAccess(
  cluster: ManagedCluster,
  addon: ManagedClusterAddOn,
  tunnel: TunnelRole | undefined,
  hubNamespace: string,
): HubAccessPlan {
  const all = hubAccessRefs(cluster.name, hubNamespace);
  if (!cluster.isAccepted) {
    const message = `the hub does not accept ManagedCluster ${cluster.name}; set its spec.hubAcceptsClient to true`;
    return { apply: [], remove: all, outcome: { t: 'pending', message } };
  }
  const known = hubSubject(addon);
  if (known.t === 'pending') return { apply: [], remove: [], outcome: known };
  if (known.t === 'foreign') {
    return { apply: [], remove: all, outcome: { t: 'failed', message: known.message } };
  }
  const apply = hubAccess(cluster, addon, known.subject, tunnel);
  const wanted = new Set(apply.map(keyOf));
  const remove = all.filter((ref) => !wanted.has(keyOf({ ...ref, metadata: ref })));
  return { apply, remove, outcome: { t: 'applied' } };
}

function keyOf(object: {
  readonly kind: string;
  readonly metadata: { readonly namespace?: string | undefined; readonly name: string };
}): string {
  return `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
