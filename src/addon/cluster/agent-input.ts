import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import type { AgentEntrypoint, AgentSettings } from '../hub/hub-state.ts';
import type { DeploymentConfigFound } from './deployment-config-reference.ts';

/** What the agent of one cluster is made from. All of it is observed; nothing is looked up. */
export interface AgentInput {
  readonly cluster: ManagedCluster;
  readonly addon: ManagedClusterAddOn;
  readonly deploymentConfig: DeploymentConfigFound;
  /** From the ManagedProxyConfiguration, with its defaults filled in. */
  readonly proxy: AgentSettings;
  /** An Error: the entrypoint is not there yet; its message says what is awaited. */
  readonly entrypoint: AgentEntrypoint | Error;
  /** PEM of what agents trust the broker by. */
  readonly caBundle: string;
  readonly defaultInstallNamespace: string;
  /** Whether the name of the cluster leads to its kube-apiserver, unless the cluster's configuration says otherwise. */
  readonly leadsToApiserver: boolean;
  readonly hasNetworkPolicies: boolean;
  /** What those let out to: ports of kube-apiservers; empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
}
