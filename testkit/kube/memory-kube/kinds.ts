import type { KubeObject } from '../../../src/kube/client/kube-object.ts';

export interface MemoryKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Whether `status` is written by its own subresource alone. */
  readonly hasStatus?: boolean;
}

const namespaced = (apiVersion: string, kind: string, hasStatus = false): MemoryKind => ({
  apiVersion,
  kind,
  namespaced: true,
  hasStatus,
});
const clusterWide = (apiVersion: string, kind: string, hasStatus = false): MemoryKind => ({
  ...namespaced(apiVersion, kind, hasStatus),
  namespaced: false,
});

/** The kinds of every API server that we use. */
export const builtInKinds: readonly MemoryKind[] = [
  clusterWide('v1', 'Namespace', true),
  clusterWide('v1', 'Node', true),
  namespaced('v1', 'Secret'),
  namespaced('v1', 'ConfigMap'),
  namespaced('v1', 'Service', true),
  namespaced('v1', 'ServiceAccount'),
  namespaced('v1', 'Pod', true),
  namespaced('v1', 'Event'),
  namespaced('apps/v1', 'Deployment', true),
  namespaced('policy/v1', 'PodDisruptionBudget', true),
  namespaced('networking.k8s.io/v1', 'Ingress', true),
  namespaced('networking.k8s.io/v1', 'NetworkPolicy'),
  namespaced('rbac.authorization.k8s.io/v1', 'Role'),
  namespaced('rbac.authorization.k8s.io/v1', 'RoleBinding'),
  clusterWide('rbac.authorization.k8s.io/v1', 'ClusterRole'),
  clusterWide('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding'),
  namespaced('coordination.k8s.io/v1', 'Lease'),
  clusterWide('certificates.k8s.io/v1', 'CertificateSigningRequest', true),
  clusterWide('apiextensions.k8s.io/v1', 'CustomResourceDefinition', true),
];

/** Of Open Cluster Management, as version 1.2 serves it. */
export const ocmKinds: readonly MemoryKind[] = [
  clusterWide('cluster.open-cluster-management.io/v1', 'ManagedCluster', true),
  namespaced('work.open-cluster-management.io/v1', 'ManifestWork', true),
  namespaced('addon.open-cluster-management.io/v1alpha1', 'ManagedClusterAddOn', true),
  clusterWide('addon.open-cluster-management.io/v1alpha1', 'ClusterManagementAddOn', true),
  namespaced('addon.open-cluster-management.io/v1alpha1', 'AddOnDeploymentConfig'),
  clusterWide('proxy.open-cluster-management.io/v1alpha1', 'ManagedProxyConfiguration', true),
];

interface Definition extends KubeObject {
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced' | 'Cluster';
    readonly names: { readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly subresources?: { readonly status?: object };
    }[];
  };
}

/** The kinds that a CustomResourceDefinition adds. */
export function kindsOf(definition: KubeObject): readonly MemoryKind[] {
  const { group, scope, names, versions } = (definition as Definition).spec;
  return versions.map(({ name, subresources }) => ({
    apiVersion: `${group}/${name}`,
    kind: names.kind,
    namespaced: scope === 'Namespaced',
    hasStatus: subresources?.status !== undefined,
  }));
}
