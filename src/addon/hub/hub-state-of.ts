import { organizationalUnitOf } from '../api/agent-identity.ts';
import { formatProblems } from '../api/field-problem.ts';
import { proxyConfigurationName } from '../api/names.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { HubCertificatesResult } from '../rotation/hub-certificates.ts';
import type { Failures } from '../runtime/failures.ts';
import { portForwardRole } from './hub-rbac.ts';
import type { AgentEntrypoint, AgentSigner, HubState } from './hub-state.ts';
import type { HubPlan } from './plan-hub.ts';

/**
 * The state after a reconcile of a valid configuration. Undefined: a CA cannot be read or stored,
 * so everything stays as it is.
 *
 * @param agentImage overrides the image in the configuration
 */
export function followedHubState(
  configuration: ManagedProxyConfiguration,
  { entrypoint }: HubPlan,
  certificates: HubCertificatesResult,
  agentImage: string | undefined,
): HubState | undefined {
  const { proxyAgent, proxyServer } = configuration.spec;
  const { caBundle } = certificates;
  const agentSigner = agentSignerOf(certificates);
  if (caBundle === undefined || agentSigner === undefined) return undefined;
  const fleet = {
    hubNamespace: proxyServer.namespace,
    proxy: {
      generation: configuration.generation,
      image: agentImage ?? proxyAgent.image,
      replicas: proxyAgent.replicas,
      allow: proxyAgent.allow,
      flags: configuration.agentFlags,
      imagePullSecrets: proxyAgent.imagePullSecrets,
    },
    entrypoint: agentEntrypoint(entrypoint),
    tunnel: 'pending' in entrypoint ? undefined : portForwardRole(configuration, entrypoint),
    caBundle,
  };
  return { agentSigner, fleet, blockedReason: undefined };
}

/**
 * The state while the configuration has problems: the fleet before, with the newest certificates.
 */
export function heldHubState(
  before: HubState,
  certificates: HubCertificatesResult,
  reason: string,
): HubState | undefined {
  const agentSigner = agentSignerOf(certificates);
  if (agentSigner === undefined) return undefined;
  const caBundle = certificates.caBundle ?? before.fleet?.caBundle;
  const fleet = before.fleet && caBundle !== undefined ? { ...before.fleet, caBundle } : undefined;
  return { agentSigner, fleet, blockedReason: fleet === undefined ? reason : undefined };
}

/**
 * The CA that signs now. No agent may ask for a certificate of the next CA before every broker
 * trusts that CA.
 */
function agentSignerOf({ agents }: HubCertificatesResult): AgentSigner | undefined {
  if (agents === undefined) return undefined;
  const { signing } = agents;
  return { authority: signing, organizationalUnit: organizationalUnitOf(signing.certPem) };
}

const subject = `ManagedProxyConfiguration ${proxyConfigurationName}`;

/** Why clusters get no agents without a configuration. */
export const noConfiguration = `${subject} does not exist, and agents are made from it; create it, the chart has one`;

/** Why clusters get no agents while the namespace of the hub cannot be read. */
export const unreadHub = (reason: string): string =>
  `the hub's side of ${subject} cannot be read: ${reason}`;

/** Why clusters get no agents although a configuration exists. */
export function blockedReasonOf(
  { problems, isDeleted }: ManagedProxyConfiguration,
  failures: Failures,
): string {
  if (problems.length > 0)
    return `${subject} is not valid: ${formatProblems(problems)}; correct it`;
  if (isDeleted) return `${subject} is being deleted, and agents are made from it; create it again`;
  return `the hub's side of ${subject} cannot be made, see its conditions: ${failures.toString()}`;
}

function agentEntrypoint(entrypoint: HubPlan['entrypoint']): AgentEntrypoint | Error {
  if ('pending' in entrypoint) return new Error(entrypoint.pending);
  if (entrypoint.kind === 'PortForward') return { kind: 'via-hub', viaHub: entrypoint.viaHub };
  return { kind: 'direct', host: entrypoint.host, port: entrypoint.port };
}
