import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import type { FleetState } from '../hub/hub-state.ts';
import type { DeploymentConfigFound } from './deployment-config-reference.ts';

/** Everything that the agent of one cluster is rendered from. */
export interface AgentInput extends Pick<FleetState, 'proxy' | 'entrypoint' | 'caBundle'> {
  readonly cluster: ManagedCluster;
  readonly addon: ManagedClusterAddOn;
  readonly deploymentConfig: DeploymentConfigFound;
  readonly defaultInstallNamespace: string;
  /** Whether the name of the cluster leads to its kube-apiserver. The cluster's configuration can override it. */
  readonly leadsToApiserver: boolean;
  readonly hasNetworkPolicies: boolean;
  /** Ports of kube-apiservers that NetworkPolicies allow. Empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
}
