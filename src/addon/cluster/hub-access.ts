import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { addOnOwner, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { type ManagedCluster, notAccepted } from '../api/managed-cluster.ts';
import { addonName, apiGroups, labels } from '../api/names.ts';
import { findObject, leaseRules, role, roleBinding, type Subject } from '../api/objects.ts';
import type { TunnelRole } from '../hub/hub-objects.ts';
import type { AccessOutcome } from './addon-status.ts';
import { hubSubject } from './registrations.ts';

const leaseRole = 'cluster-proxy-addon-agent';

/**
 * Plans the rights of one cluster's agent. Only the agent of a cluster that the hub accepts has
 * rights. They are removed when the cluster is no longer accepted.
 *
 * @param tunnel undefined: agents do not connect through the kube-apiserver
 * @param hubNamespace the namespace of bindings to `tunnel`
 * @returns objects to apply, objects to delete if they exist, and the status after both
 */
export function planHubAccess(
  cluster: ManagedCluster,
  addon: ManagedClusterAddOn,
  tunnel: TunnelRole | undefined,
  hubNamespace: string,
) {
  const plan = (
    outcome: AccessOutcome,
    remove: readonly KubeRef[],
    apply: readonly KubeObject[] = [],
  ) => ({ apply, remove, outcome });
  const all = hubAccessRefs(cluster.name, hubNamespace);
  if (!cluster.isAccepted)
    return plan({ kind: 'pending', message: notAccepted(cluster.name) }, all);
  const known = hubSubject(addon);
  if (known.kind === 'pending') return plan(known, []);
  if (known.kind === 'foreign') return plan({ kind: 'failed', message: known.message }, all);
  const apply = hubAccess(addon, known.subject, tunnel);
  const remove = all.filter((ref) => !findObject(apply, ref.kind, ref.name, ref.namespace));
  return plan({ kind: 'applied' }, remove, apply);
}

/**
 * The rights of one cluster's agent on the hub: to keep a lease in the cluster's own namespace and,
 * with the entrypoint PortForward, to open WebSockets to the port for agents. Each cluster has its
 * own bindings, so the reconcile of one cluster changes no other cluster's rights.
 *
 * @param tunnel undefined: agents do not connect through the kube-apiserver
 */
export function hubAccess(addon: ManagedClusterAddOn, subject: Subject, tunnel?: TunnelRole) {
  const { cluster } = addon;
  const own = { [labels.addonName]: addonName, [labels.clusterName]: cluster };
  const metadata = {
    name: leaseRole,
    namespace: cluster,
    labels: own,
    ownerReferences: [addOnOwner(addon)],
  };
  const objects = [role(metadata, leaseRules), roleBinding(metadata, leaseRole, subject)];
  if (tunnel === undefined) return objects;
  const tunnelMetadata = {
    name: tunnelBindingName(cluster),
    namespace: tunnel.namespace,
    labels: own,
    // The addon is in another namespace and cannot own the binding. An uninstall deletes it with
    // the ManagedProxyConfiguration.
    ownerReferences: [tunnel.owner],
  };
  return [...objects, roleBinding(tunnelMetadata, tunnel.name, subject)];
}

/** Everything that `hubAccess` can have made for a cluster, whatever the entrypoint was then. */
export function hubAccessRefs(cluster: string, hubNamespace: string): readonly KubeRef[] {
  const own = { namespace: cluster, name: leaseRole };
  const tunnel = { namespace: hubNamespace, name: tunnelBindingName(cluster) };
  const apiVersion = `${apiGroups.rbac}/v1`;
  return [
    { apiVersion, kind: 'RoleBinding', ...own },
    { apiVersion, kind: 'Role', ...own },
    { apiVersion, kind: 'RoleBinding', ...tunnel },
  ];
}

function tunnelBindingName(cluster: string): string {
  return `${leaseRole}:portforward:${cluster}`;
}
