import type { ManagedCluster } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { DeploymentConfigFound } from './deployment-config-reference.ts';

/** Where the agents of the fleet connect to, as the ManagedProxyConfiguration has it. */
export type AgentEntrypoint =
  /** A host that leads to the brokers. */
  | { readonly t: 'direct'; readonly host: string; readonly port: number }
  /** PortForward: through the hub's kube-apiserver. */
  | {
      readonly t: 'via-hub';
      /** `NAMESPACE/SCHEME:SERVICE:PORTNAME`, as the agent's flag takes it. */
      readonly viaHub: string;
    };

/** What the agent of one cluster is made from. All of it is observed; nothing is looked up. */
export interface AgentInput {
  readonly cluster: ManagedCluster;
  readonly addon: ManagedClusterAddOn;
  readonly deploymentConfig: DeploymentConfigFound;
  /** From the ManagedProxyConfiguration, with its defaults filled in. */
  readonly proxy: {
    readonly generation: number;
    readonly image: string;
    readonly replicas: number;
    /** Destinations besides the kube-apiserver, as the agent's `--allow` takes them. */
    readonly allow: readonly string[];
    /** Settings of the agent, by the names of its flags without dashes. */
    readonly flags: readonly { readonly name: string; readonly value: string }[];
    readonly imagePullSecrets: readonly string[];
  };
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
