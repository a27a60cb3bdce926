import { organizationalUnitOf } from '../api/agent-identity.ts';
import { sayProblems } from '../api/field-problem.ts';
import { proxyConfigurationName } from '../api/names.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { HubCertificatesResult } from '../rotation/hub-certificates.ts';
import type { ObjectFailure } from '../runtime/failures.ts';
import { portForwardRole } from './hub-rbac.ts';
import type { AgentEntrypoint, AgentSigner, HubState } from './hub-state.ts';
import type { HubPlan } from './plan-hub.ts';

/**
 * What there is to start from; undefined while a CA cannot be read or stored: then all stays as it is.
 *
 * @param agentImage instead of the one that the configuration names
 */
export function hubStateOf(
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
  return { agentSigner, fleet };
}

/** The same while the configuration is not followed: what was known before, with the certificates of now. */
export function heldStateOf(
  before: HubState | undefined,
  certificates: HubCertificatesResult,
): HubState | undefined {
  const agentSigner = agentSignerOf(certificates);
  if (agentSigner === undefined) return undefined;
  const fleet = before?.fleet;
  const { caBundle = fleet?.caBundle } = certificates;
  return {
    agentSigner,
    fleet: fleet && caBundle !== undefined ? { ...fleet, caBundle } : undefined,
  };
}

/** The CA that signs now: while the next is only distributed, nobody shall ask for a certificate of it. */
function agentSignerOf({ agents }: HubCertificatesResult): AgentSigner | undefined {
  if (agents === undefined) return undefined;
  const { signing } = agents;
  return { authority: signing, organizationalUnit: organizationalUnitOf(signing.certPem) };
}

const subject = `ManagedProxyConfiguration ${proxyConfigurationName}`;

/** What keeps clusters from having agents where there is no configuration. */
export const noConfiguration = `${subject} is not there, and agents are made from it; create it, the chart has one`;

/** What keeps them from it where the hub's namespace cannot be read. */
export const unreadHub = (why: string): string =>
  `the hub's side of ${subject} cannot be read: ${why}`;

/** What keeps them from it where one is there from which nothing can be made yet. */
export function lackOf(
  { problems, isDeleted }: ManagedProxyConfiguration,
  failures: readonly ObjectFailure[],
): string {
  if (problems.length > 0) return `${subject} is not valid: ${sayProblems(problems)}; correct it`;
  if (isDeleted) return `${subject} is being deleted, and agents are made from it; create it anew`;
  const sentences = failures.map(({ object, sentence }) => `${object}: ${sentence}`);
  return `the hub's side of ${subject} cannot be made, see its conditions: ${sentences.join('; ')}`;
}

function agentEntrypoint(entrypoint: HubPlan['entrypoint']): AgentEntrypoint | Error {
  if ('pending' in entrypoint) return new Error(entrypoint.pending);
  if (entrypoint.kind === 'PortForward') return { t: 'via-hub', viaHub: entrypoint.viaHub };
  return { t: 'direct', host: entrypoint.host, port: entrypoint.port };
}
