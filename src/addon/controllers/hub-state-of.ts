import type { AgentEntrypoint } from '../agent/agent-input.ts';
import type { ManagedProxyConfiguration } from '../api/managed-proxy-configuration.ts';
import { portForwardRole } from '../hub/hub-rbac.ts';
import type { HubPlan } from '../hub/reconcile-hub.ts';
import { organizationalUnitOf } from '../registration/agent-identity.ts';
import type { HubCertificatesResult } from './hub-certificates.ts';
import type { HubState } from './hub-state.ts';

/**
 * What clusters start from; undefined while a CA cannot be read and nothing is known in its place: then they stay as they are.
 *
 * @param agentImage instead of the one that the configuration names
 */
export function hubStateOf(
  configuration: ManagedProxyConfiguration,
  { entrypoint }: HubPlan,
  { plan, caBundle }: HubCertificatesResult,
  agentImage: string | undefined,
): HubState | undefined {
  const { proxyAgent, proxyServer } = configuration.spec;
  if (caBundle === undefined || plan.agents === undefined) return undefined;
  return {
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
    // The one that signs now: while the next is only distributed, nobody shall ask for a certificate of it.
    organizationalUnit: organizationalUnitOf(plan.agents.signing.certPem),
    agentAuthority: plan.agents.signing,
  };
}

function agentEntrypoint(entrypoint: HubPlan['entrypoint']): AgentEntrypoint | Error {
  if ('pending' in entrypoint) return new Error(entrypoint.pending);
  if (entrypoint.kind === 'PortForward') return { t: 'via-hub', viaHub: entrypoint.viaHub };
  return { t: 'direct', host: entrypoint.host, port: entrypoint.port };
}
