import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { addOnOwner, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { addonName, apiGroups, labels } from '../api/names.ts';
import type { RbacSubject } from './registrations.ts';
import type { TunnelRole } from '../hub/hub-state.ts';

const apiVersion = `${apiGroups.rbac}/v1`;
const leaseRole = 'cluster-proxy-addon-agent';

/**
 * What the agent of one cluster may do on the hub: keep a lease in its cluster's own namespace and, where the entrypoint is
 * PortForward, open WebSockets to the one port that takes agents. Each cluster has bindings of its own, so no reconcile of one
 * cluster touches another's rights.
 *
 * @param tunnel undefined: agents do not go through the kube-apiserver
 */
export function hubAccess(
  cluster: ManagedCluster,
  addon: ManagedClusterAddOn,
  subject: RbacSubject,
  tunnel: TunnelRole | undefined,
): readonly KubeObject[] {
  const metadata = {
    name: leaseRole,
    namespace: cluster.name,
    labels: ownLabels(cluster.name),
    ownerReferences: [addOnOwner(addon)],
  };
  const objects: KubeObject[] = [
    {
      apiVersion,
      kind: 'Role',
      metadata,
      rules: [
        // A name cannot narrow "create": the object has none yet when the request is judged.
        { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
        {
          apiGroups: ['coordination.k8s.io'],
          resources: ['leases'],
          resourceNames: [addonName],
          verbs: ['get', 'update', 'patch'],
        },
      ],
    },
    binding(metadata, leaseRole, subject),
  ];
  if (tunnel === undefined) return objects;
  const tunnelBinding = {
    name: tunnelBindingName(cluster.name),
    namespace: tunnel.namespace,
    labels: ownLabels(cluster.name),
    // So that it goes with an uninstall, which leaves nobody who would take it away. An addon in another namespace cannot own it.
    ownerReferences: [tunnel.owner],
  };
  return [...objects, binding(tunnelBinding, tunnel.name, subject)];
}

/**
 * All that `hubAccess` may ever have made for a cluster, for taking it away: when the cluster is no longer accepted, the addon is
 * removed from it, or the entrypoint has changed (then the last one only).
 */
export function hubAccessRefs(cluster: string, hubNamespace: string): readonly KubeRef[] {
  return [
    { apiVersion, kind: 'RoleBinding', namespace: cluster, name: leaseRole },
    { apiVersion, kind: 'Role', namespace: cluster, name: leaseRole },
    {
      apiVersion,
      kind: 'RoleBinding',
      namespace: hubNamespace,
      name: tunnelBindingName(cluster),
    },
  ];
}

function tunnelBindingName(cluster: string): string {
  return `${leaseRole}:portforward:${cluster}`;
}

function ownLabels(cluster: string): Record<string, string> {
  return { [labels.addonName]: addonName, [labels.clusterName]: cluster };
}

function binding(metadata: KubeObject['metadata'], role: string, subject: RbacSubject): KubeObject {
  return {
    apiVersion,
    kind: 'RoleBinding',
    metadata,
    roleRef: { apiGroup: apiGroups.rbac, kind: 'Role', name: role },
    subjects: [subject],
  };
}
