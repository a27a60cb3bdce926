import { isDeepStrictEqual } from 'node:util';
import { formatProblems } from '../api/field-problem.ts';
import { proxyConfigurationName } from '../api/names.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { Authority } from '../rotation/authority.ts';
import type { HubCertificatesResult } from '../rotation/hub-certificates.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';
import { Observable } from '../runtime/observable.ts';
import { portForwardRole } from './hub-objects.ts';
import type { HubPlan } from './plan-hub.ts';

/** Where agents connect to: a host that leads to the brokers, or the kube-apiserver of the hub. */
export type AgentEntrypoint =
  | { readonly host: string; readonly port: number }
  | { readonly viaHub: string };

/** What the hub provides for the agents of all clusters. */
export interface FleetState extends Readonly<ReturnType<typeof fleetState>> {
  /** PEM of the CAs by which agents trust brokers. */
  readonly caBundle: string;
}

/** The result of the hub's reconcile, from which clusters and signing requests are reconciled. */
export interface HubState {
  /** The CA that signs agents' certificates. Undefined: no CA signs. */
  readonly agentSigner: Authority | undefined;
  /**
   * Undefined: there has been no valid configuration since the start. Clusters stay as they are.
   */
  readonly fleet: FleetState | undefined;
  /**
   * Why there is no `fleet`, as a sentence with the next step. Undefined: there is a fleet, or the
   * hub has not been read yet.
   */
  readonly blockedReason: string | undefined;
}

/** The parts that all controllers share which follow the state of the hub. */
export interface HubContext extends ControllerContext {
  readonly state: Observable<HubState>;
}

/** The newest state of the hub. */
export function observableHubState(): Observable<HubState> {
  const unread: HubState = { agentSigner: undefined, fleet: undefined, blockedReason: undefined };
  // Key objects never equal each other, so the CA's certificate is compared instead.
  const comparable = ({ agentSigner, ...others }: HubState) =>
    [agentSigner?.certPem, others] as const;
  return new Observable(unread, (a, b) => isDeepStrictEqual(comparable(a), comparable(b)));
}

/** The state while clusters get no agents for `blockedReason`. */
export const blockedHubState = (blockedReason: string): HubState => ({
  agentSigner: undefined,
  fleet: undefined,
  blockedReason,
});

/**
 * The state after a reconcile. While the configuration has problems, it is the fleet before, with
 * the newest certificates.
 *
 * @param certificates undefined: the configuration is being deleted
 * @param agentImage overrides the image in the configuration
 */
export function nextHubState(
  before: HubState,
  configuration: ManagedProxyConfiguration,
  { entrypoint }: HubPlan,
  certificates: HubCertificatesResult | undefined,
  failure: string | undefined,
  agentImage: string | undefined,
): HubState {
  const reason = blockedReasonOf(configuration, failure);
  const isValid = configuration.problems.length === 0;
  // No agent may ask for a certificate of the next CA before every broker trusts that CA.
  const agentSigner = certificates?.agents?.signing;
  const caBundle = certificates?.caBundle ?? (isValid ? undefined : before.fleet?.caBundle);
  if (agentSigner === undefined || (isValid && caBundle === undefined)) {
    // A CA cannot be read or stored, so everything stays as it is.
    return before.agentSigner === undefined ? blockedHubState(reason) : before;
  }
  const followed = isValid ? fleetState(configuration, entrypoint, agentImage) : before.fleet;
  const fleet = followed && caBundle !== undefined ? { ...followed, caBundle } : undefined;
  return { agentSigner, fleet, blockedReason: fleet === undefined ? reason : undefined };
}

function fleetState(
  configuration: ManagedProxyConfiguration,
  entrypoint: AgentEntrypoint | { readonly pending: string },
  agentImage: string | undefined,
) {
  const { generation, agentFlags, serviceProxy } = configuration;
  const { replicas, allow, imagePullSecrets, ...proxyAgent } = configuration.spec.proxyAgent;
  const serviceCaConfigMap = proxyAgent.additionalServiceCAConfigMap;
  const image = agentImage ?? proxyAgent.image;
  return {
    hubNamespace: configuration.spec.proxyServer.namespace,
    /** The settings of agents in the ManagedProxyConfiguration. */
    proxy: {
      ...{ image, generation, replicas, allow, imagePullSecrets, serviceCaConfigMap },
      flags: agentFlags,
      serviceProxy,
    },
    entrypoint,
    /** Undefined: agents do not connect through the kube-apiserver. */
    tunnel: portForwardRole(configuration, entrypoint),
  };
}

const subject = `ManagedProxyConfiguration ${proxyConfigurationName}`;

/** Why clusters get no agents without a configuration. */
export const noConfiguration = `${subject} does not exist, and agents are made from it; create it, the chart has one`;

/** Why clusters get no agents while the namespace of the hub cannot be read. */
export const unreadHub = (reason: string): string =>
  `the hub's side of ${subject} cannot be read: ${reason}`;

/** Why clusters get no agents although a configuration exists. */
function blockedReasonOf({ problems, isDeleted }: ManagedProxyConfiguration, failure = ''): string {
  if (problems.length > 0)
    return `${subject} is not valid: ${formatProblems(problems)}; correct it`;
  if (isDeleted) return `${subject} is being deleted, and agents are made from it; create it again`;
  return `the hub's side of ${subject} cannot be made, see its conditions: ${failure}`;
}
