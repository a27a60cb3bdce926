import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
  parseAddOnDeploymentConfig,
  type DeploymentConfigFound,
  installNamespaceOf,
} from '../api/addon-deployment-config.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { drainTimeoutMs } from '../compat/additional-args.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { type AgentVariables, readVariables } from '../compat/customized-variables.ts';
import type { AgentEntrypoint, FleetState } from '../hub/hub-state.ts';
import {
  type AgentSources,
  agentImage,
  nodePlacementOf,
  agentResources,
  trustedCertificates,
} from './agent-settings.ts';
import { type ClusterHttp, clusterHttp } from './cluster-http.ts';
import { agentDeploymentName } from './agent-names.ts';

/** The options of the addon manager for agents. */
export interface AgentOptions {
  readonly agentInstallNamespace: string;
  /**
   * Whether the name of the cluster leads to its kube-apiserver. The cluster's configuration can
   * override it.
   */
  readonly enableKubeApiProxy: boolean;
  /** Whether HTTP clients reach the cluster. The cluster's configuration can override it. */
  readonly enableServiceProxy: boolean;
  /** Whether users of the hub are impersonated. The cluster's configuration can override it. */
  readonly enableImpersonation: boolean;
  readonly enableNetworkPolicies: boolean;
  /** Ports of kube-apiservers that NetworkPolicies allow. Empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
}

/** Everything that the agent of one cluster is rendered from. */
export interface AgentInput extends AgentOptions, Omit<FleetState, 'hubNamespace' | 'tunnel'> {
  readonly cluster: ManagedCluster;
  readonly addon: ManagedClusterAddOn;
  readonly deploymentConfig: DeploymentConfigFound;
}

/** The values of one cluster's agent, after all configurations are merged. */
export type AgentValues = Readonly<NonNullable<ReturnType<typeof agentValues>>>;

/** The configuration of a cluster that has none. */
const emptyConfig = parseAddOnDeploymentConfig({
  apiVersion: '',
  kind: 'AddOnDeploymentConfig',
  metadata: { name: '' },
});

/**
 * Merges the ManagedProxyConfiguration, the ManagedCluster and the AddOnDeploymentConfig. A later
 * one overrides an earlier one, in this order. No configuration can change the name of the cluster
 * or its namespace.
 *
 * @returns undefined when there are `diagnostics.problems`
 */
export function agentValues(input: AgentInput, diagnostics: Diagnostics) {
  const { cluster, proxy, deploymentConfig } = input;
  if (deploymentConfig.kind === 'missing') diagnostics.problems.push(deploymentConfig.message);
  const config = deploymentConfig.kind === 'found' ? deploymentConfig.config : emptyConfig;
  const where = describeDeploymentConfig(config);
  const variables = readVariables(config.customizedVariables, where, diagnostics);
  const sources: AgentSources = { cluster, config, variables, diagnostics };
  const http = clusterHttp(input, proxy, variables);
  diagnostics.problems.push(...http.problems.map((problem) => `${where}: ${problem}`));
  diagnostics.notices.push(...http.notices.map((notice) => `${where}: ${notice}`));
  const entrypoint = entrypointOf(input.entrypoint, sources);
  const isDirect = entrypoint !== undefined && !('viaHub' in entrypoint);

  const values = {
    cluster: cluster.name,
    deploymentName: variables.agentDeploymentName ?? agentDeploymentName,
    generation: proxy.generation,
    image: agentImage(proxy.image, sources),
    imagePullSecrets: proxy.imagePullSecrets,
    replicas: variables.replicas ?? proxy.replicas,
    resources: agentResources(config),
    ...nodePlacementOf(sources),
    proxyEnvironment: proxyEnvironmentOf(config),
    trustedCertificates: trustedCertificates(input.caBundle, isDirect, sources),
    ...flagsOf(proxy, variables.serviceDomain),
    leadsToApiserver: variables.enableKubeApiProxy ?? input.enableKubeApiProxy,
    ...httpOf(input, variables, http),
    hasNetworkPolicy: input.enableNetworkPolicies,
    apiServerPorts: input.apiServerPorts,
  };
  const installNamespace = installNamespaceOf(deploymentConfig, input.agentInstallNamespace);
  if (entrypoint === undefined || installNamespace === undefined) return undefined;
  return diagnostics.problems.length > 0 ? undefined : { ...values, entrypoint, installNamespace };
}

/** The part of HTTP clients. */
function httpOf(input: AgentInput, variables: AgentVariables, http: ClusterHttp) {
  const { enableServiceProxy, proxy } = input;
  const isServed = variables.enableServiceProxy ?? enableServiceProxy;
  return {
    /** Whether gateways can have tokens reviewed by the cluster. */
    isServed,
    /** Whether gateways can let the agent impersonate users of the hub or of an OIDC issuer. */
    impersonates: isServed && (http.hubTokens || http.issuer !== undefined),
    /** A ConfigMap in the namespace of the agent with CAs of Services, in the key service-ca.crt. */
    serviceCaConfigMap: variables.additionalServiceCAConfigMap ?? proxy.serviceCaConfigMap,
  };
}

function flagsOf({ flags, allow }: AgentInput['proxy'], serviceDomain: string | undefined) {
  const targets = flags.filter(({ name }) => name === 'allow').map(({ value }) => value);
  // The last value of an option counts, as in Go. The agent would refuse to start with two values.
  const settings = new Map(flags.map(({ name, value }) => [name, value]));
  settings.delete('allow');
  if (serviceDomain !== undefined) {
    settings.set('kube-apiserver', `kubernetes.default.${serviceDomain}`);
  }
  return {
    /** Other options of the agent, by the names of its flags. */
    settings: settings as ReadonlyMap<string, string>,
    allow: [...new Set([...allow, ...targets])] as readonly string[],
    drainTimeoutMs: drainTimeoutMs(flags),
  };
}

function proxyEnvironmentOf({ proxyConfig }: AddOnDeploymentConfig) {
  const { httpProxy, httpsProxy, noProxy } = proxyConfig;
  const all = { HTTP_PROXY: httpProxy, HTTPS_PROXY: httpsProxy, NO_PROXY: noProxy };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

/** The cluster's own entrypoint overrides that of the fleet, even while the fleet has none yet. */
function entrypointOf(
  fleet: FleetState['entrypoint'],
  { config, variables, diagnostics }: AgentSources,
): AgentEntrypoint | undefined {
  const { serviceEntryPoint: host, serviceEntryPointPort: port } = variables;
  if (host !== undefined) {
    const fleetPort = 'port' in fleet ? fleet.port : defaultEntrypointPort;
    return { host, port: port ?? fleetPort };
  }
  if ('pending' in fleet) {
    diagnostics.problems.push(fleet.pending);
    return undefined;
  }
  if (port === undefined) return fleet;
  if ('port' in fleet) return { ...fleet, port };
  diagnostics.notices.push(
    `${describeDeploymentConfig(config)}: serviceEntryPointPort has no effect, agents go through the hub's kube-apiserver; give serviceEntryPoint as well to make them connect directly`,
  );
  return fleet;
}

const defaultEntrypointPort = 8091;
