import { addOnName } from '../../base/names/agent-subject.ts';

/** Names that an OCM hub, its users and other software know this addon by. They are what Cluster Proxy calls them. */
export const addonName = addOnName;

/** The one ManagedProxyConfiguration that counts. */
export const proxyConfigurationName = 'cluster-proxy';

/** Where agents live, unless an AddOnDeploymentConfig says otherwise. */
export const defaultInstallNamespace = 'open-cluster-management-cluster-proxy';

export const apiGroups = {
  addon: 'addon.open-cluster-management.io',
  proxy: 'proxy.open-cluster-management.io',
  rbac: 'rbac.authorization.k8s.io',
} as const;

export const labels = {
  addonName: 'open-cluster-management.io/addon-name',
  clusterName: 'open-cluster-management.io/cluster-name',
  /** On pods of ours; NetworkPolicies and the agent's Deployment select by it. */
  addon: 'open-cluster-management.io/addon',
  component: 'proxy.open-cluster-management.io/component-name',
  localCluster: 'local-cluster',
} as const;

export const annotations = {
  lifecycle: 'addon.open-cluster-management.io/lifecycle',
  deletionOrphan: 'addon.open-cluster-management.io/deletion-orphan',
  hostingCluster: 'addon.open-cluster-management.io/hosting-cluster-name',
  configSpecHash: 'open-cluster-management.io/config-spec-hash',
  imageRegistries: 'open-cluster-management.io/image-registries',
  nodeSelector: 'open-cluster-management/nodeSelector',
  /** Who asked, where a CSR came through the hub's gRPC server. */
  csrUser: 'open-cluster-management.io/csr-user',
  configurationGeneration: 'proxy.open-cluster-management.io/configuration-generation',
  /** On a ManagedClusterAddOn: the CA that has signed the newest certificate of its agent (see `organizationalUnitOf`). */
  agentSigner: 'proxy.open-cluster-management.io/agent-signer',
  /** The first time that it did, RFC 3339. */
  agentSignerSince: 'proxy.open-cluster-management.io/agent-signer-since',
  renderedHash: 'proxy.open-cluster-management.io/rendered-hash',
  /** On a ManifestWork: which bundle of the hub it brings (see `caBundleMark`). */
  caBundle: 'proxy.open-cluster-management.io/ca-bundle',
  workloadManagement: 'target.workload.openshift.io/management',
} as const;

/** Kinds of configuration that the addon takes. */
export const configKinds = {
  proxyConfiguration: { group: apiGroups.proxy, resource: 'managedproxyconfigurations' },
  deploymentConfig: { group: apiGroups.addon, resource: 'addondeploymentconfigs' },
} as const;
