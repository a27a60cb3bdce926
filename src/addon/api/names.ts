import { addOnName } from '../../base/names/agent-subject.ts';

/**
 * The name of the addon. All names in this file are public, and those of Cluster Proxy where it has
 * one.
 */
export const addonName = addOnName;

/** The name of the only ManagedProxyConfiguration that is used. */
export const proxyConfigurationName = 'cluster-proxy';

/** The namespace of agents. An AddOnDeploymentConfig can override it. */
export const defaultInstallNamespace = 'open-cluster-management-cluster-proxy';

export const apiGroups = {
  addon: 'addon.open-cluster-management.io',
  proxy: 'proxy.open-cluster-management.io',
  rbac: 'rbac.authorization.k8s.io',
} as const;

export const configurationApiVersion = `${apiGroups.proxy}/v1alpha1`;
export const configurationKind = 'ManagedProxyConfiguration';

/** The ConfigMap in the addon manager's namespace that sets TLS for all of OCM. */
export const tlsProfileName = 'ocm-tls-profile';

export const labels = {
  addonName: 'open-cluster-management.io/addon-name',
  clusterName: 'open-cluster-management.io/cluster-name',
  /** On the addon's pods. NetworkPolicies and the agent's Deployment select by it. */
  addon: 'open-cluster-management.io/addon',
  component: 'proxy.open-cluster-management.io/component-name',
  localCluster: 'local-cluster',
} as const;

/**
 * Marks the hub's objects. An object with this label that is no longer wanted is deleted. Any other
 * object is left alone.
 */
export const hubLabel = { 'proxy.open-cluster-management.io/part': 'hub' } as const;

/** Selects the pods that serve :8090 and :8091. clusteradm selects by it, too. */
export const serverLabel = { [labels.component]: 'proxy-server' } as const;

/**
 * The ServiceAccount of the brokers' pods. `cluster-proxy` is the addon manager's, which may do far
 * more.
 */
export const serverAccount = 'cluster-proxy-proxy-server';

/** Secrets in the namespace of the brokers whose names are fixed. */
export const hubSecrets = {
  /** `ca.crt`: the CAs that brokers and konnectivity clients trust. */
  serverCa: 'proxy-server-ca',
  /** `ca.crt`: the CAs that brokers trust for agents. */
  agentCa: 'agent-ca',
  /** `key`: the key by which replicas recognize each other. */
  replicaKey: 'cluster-proxy-replica-key',
  /** The certificate of the user-server. */
  userServer: 'cluster-proxy-user-serving-cert',
} as const;

/** Where programs on the hub reach the HTTP plane. The names are those of Cluster Proxy. */
export const userServer = {
  /** The Service, in the namespace of the brokers. */
  service: 'cluster-proxy-addon-user',
  /** The Secret with its certificate, in the same namespace. */
  secret: hubSecrets.userServer,
  port: 9092,
} as const;

/**
 * The ConfigMap in which the addon tells the brokers how to authenticate the users of each cluster.
 */
export const clusterSettingsName = 'cluster-proxy-cluster-settings';

export const annotations = {
  lifecycle: 'addon.open-cluster-management.io/lifecycle',
  deletionOrphan: 'addon.open-cluster-management.io/deletion-orphan',
  configSpecHash: 'open-cluster-management.io/config-spec-hash',
  imageRegistries: 'open-cluster-management.io/image-registries',
  nodeSelector: 'open-cluster-management/nodeSelector',
  /** The requester of a CSR that came through the hub's gRPC server. */
  csrUser: 'open-cluster-management.io/csr-user',
  configurationGeneration: 'proxy.open-cluster-management.io/configuration-generation',
  /**
   * On a ManagedClusterAddOn: the CA of the newest certificate of its agent (see
   * `organizationalUnitOf`).
   */
  agentSigner: 'proxy.open-cluster-management.io/agent-signer',
  /** The time of the first certificate of that CA (RFC 3339). */
  agentSignerSince: 'proxy.open-cluster-management.io/agent-signer-since',
  renderedHash: 'proxy.open-cluster-management.io/rendered-hash',
  /** On a ManifestWork: the CA bundle of the hub in it (see `caBundleMark`). */
  caBundle: 'proxy.open-cluster-management.io/ca-bundle',
  workloadManagement: 'target.workload.openshift.io/management',
} as const;

/** Kinds of configuration that the addon supports. */
export const configKinds = {
  proxyConfiguration: { group: apiGroups.proxy, resource: 'managedproxyconfigurations' },
  deploymentConfig: { group: apiGroups.addon, resource: 'addondeploymentconfigs' },
} as const;
