import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import { processTable } from '../../base/options/process-options.ts';
import { valueAmong } from '../../base/options/read-options.ts';
import type { Fields } from '../api/fields.ts';
import { installNamespaceOf } from './deployment-config-reference.ts';
import type { AgentInput } from './agent-input.ts';
import { agentDeploymentName } from './agent-names.ts';
import { readVariables } from '../compat/customized-variables.ts';
import type { Findings } from '../api/diagnostics.ts';
import { agentImage } from './agent-image.ts';
import { nodePlacementOf } from './node-placement.ts';
import { agentResources } from './resource-requirements.ts';
import { trustedCertificates } from './trusted-certificates.ts';
import type { AgentEntrypoint } from '../hub/hub-state.ts';

/** The agent of one cluster, with every wish weighed. */
export interface AgentValues {
  readonly cluster: string;
  readonly installNamespace: string;
  readonly deploymentName: string;
  readonly generation: number;
  readonly image: string;
  readonly imagePullSecrets: readonly string[];
  readonly replicas: number;
  readonly resources: Fields;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Fields[];
  /** Variables of the environment, by name. */
  readonly proxyEnvironment: Readonly<Record<string, string>>;
  /** PEM. */
  readonly trustedCertificates: string;
  readonly entrypoint: AgentEntrypoint;
  /** More of the agent's settings, by the names of its flags. */
  readonly settings: ReadonlyMap<string, string>;
  readonly allow: readonly string[];
  readonly leadsToApiserver: boolean;
  readonly drainTimeoutMs: number;
  readonly hasNetworkPolicy: boolean;
  /** What the policy lets out to; empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
}

/**
 * Weighs what the ManagedProxyConfiguration, the ManagedCluster and the AddOnDeploymentConfig say; later ones win, in this order.
 * The name of the cluster and its namespace are nobody's to choose.
 *
 * @returns undefined where `findings.problems` are in the way
 */
export function agentValues(input: AgentInput, findings: Findings): AgentValues | undefined {
  const { cluster, proxy, deploymentConfig } = input;
  if (deploymentConfig.t === 'missing') findings.problems.push(deploymentConfig.message);
  const config = deploymentConfig.t === 'found' ? deploymentConfig.config : undefined;
  const where = config === undefined ? '' : describeDeploymentConfig(config);
  const variables = readVariables(config?.customizedVariables ?? [], where, findings);
  const entrypoint = entrypointOf(input.entrypoint, variables, where, findings);
  const isDirect = entrypoint?.t === 'direct';

  const values = {
    cluster: cluster.name,
    deploymentName: variables.agentDeploymentName ?? agentDeploymentName,
    generation: proxy.generation,
    image: agentImage(proxy.image, config?.registries ?? [], cluster, variables, findings),
    imagePullSecrets: proxy.imagePullSecrets,
    replicas: variables.replicas ?? proxy.replicas,
    resources: agentResources(config?.resourceRequirements ?? []),
    ...nodePlacementOf(cluster, config?.nodePlacement, findings),
    proxyEnvironment: proxyEnvironmentOf(config),
    trustedCertificates: trustedCertificates(input.caBundle, config, isDirect, findings),
    ...flagsOf(proxy, variables.serviceDomain),
    leadsToApiserver: variables.enableKubeApiProxy ?? input.leadsToApiserver,
    hasNetworkPolicy: input.hasNetworkPolicies,
    apiServerPorts: input.apiServerPorts,
  };
  const installNamespace = installNamespaceOf(deploymentConfig, input.defaultInstallNamespace);
  if (findings.problems.length > 0 || entrypoint === undefined || installNamespace === undefined) {
    return undefined;
  }
  return { ...values, entrypoint, installNamespace };
}

function flagsOf(
  { flags, allow }: AgentInput['proxy'],
  serviceDomain: string | undefined,
): Pick<AgentValues, 'settings' | 'allow' | 'drainTimeoutMs'> {
  const targets = flags.filter(({ name }) => name === 'allow').map(({ value }) => value);
  // Of a setting given twice the last counts, as it does for programs in Go; the agent itself would refuse to start.
  const settings = new Map(flags.map(({ name, value }) => [name, value]));
  settings.delete('allow');
  if (serviceDomain !== undefined) {
    settings.set('kube-apiserver', `kubernetes.default.${serviceDomain}`);
  }
  return {
    settings,
    allow: [...new Set([...allow, ...targets])],
    drainTimeoutMs: valueAmong(processTable.drainTimeoutMs, settings),
  };
}

function proxyEnvironmentOf(
  config: AddOnDeploymentConfig | undefined,
): Readonly<Record<string, string>> {
  if (config === undefined) return {};
  const { httpProxy, httpsProxy, noProxy } = config.proxyConfig;
  const all = { HTTP_PROXY: httpProxy, HTTPS_PROXY: httpsProxy, NO_PROXY: noProxy };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

/** An entrypoint of the cluster's own beats the one of the fleet, even one that is not there yet. */
function entrypointOf(
  fleet: AgentEntrypoint | Error,
  own: { readonly serviceEntryPoint?: string; readonly serviceEntryPointPort?: number },
  where: string,
  findings: Findings,
): AgentEntrypoint | undefined {
  const { serviceEntryPoint: host, serviceEntryPointPort: port } = own;
  const fleetPort = !(fleet instanceof Error) && fleet.t === 'direct' ? fleet.port : undefined;
  if (host !== undefined) {
    return { t: 'direct', host, port: port ?? fleetPort ?? defaultEntrypointPort };
  }
  if (fleet instanceof Error) {
    findings.problems.push(fleet.message);
    return undefined;
  }
  if (port === undefined) return fleet;
  if (fleet.t === 'direct') return { ...fleet, port };
  findings.notices.push(
    `${where}: serviceEntryPointPort has no effect, agents go through the hub's kube-apiserver; give serviceEntryPoint as well to make them connect directly`,
  );
  return fleet;
}

const defaultEntrypointPort = 8091;
