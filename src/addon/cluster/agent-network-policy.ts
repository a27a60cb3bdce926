import { parseProxyUrl, ProxyUrlError } from '../../base/net/proxy.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { apiServerEgress, networkPolicy } from '../api/network-policy.ts';
import { agentPodLabels } from './agent-deployment.ts';
import { agentStatusPort } from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';
import { parseHostWithOptionalPort } from '../../base/net/host-port.ts';

/**
 * The NetworkPolicy of agents. It limits ports, because a policy can name neither the hub nor a kube-apiserver. An agent with targets
 * besides the kube-apiserver may reach everything, because those targets can be anywhere.
 */
export function agentNetworkPolicy(values: AgentValues): KubeObject {
  const { installNamespace: namespace, entrypoint, proxyEnvironment, allow, settings } = values;
  const { HTTP_PROXY = '', HTTPS_PROXY = '' } = proxyEnvironment;
  const apiServer = settings.get('kube-apiserver');
  const others = [
    // The setting may name a Service without a port. A policy does not see the port of a Service.
    ...(apiServer === undefined ? [] : [parseHostWithOptionalPort(apiServer).port]),
    ...(entrypoint.kind === 'direct' ? [entrypoint.port] : []),
    ...[HTTP_PROXY, HTTPS_PROXY].map(proxyPort),
  ].filter((port) => port !== undefined);
  return networkPolicy(
    { name: 'cluster-proxy-proxy-agent-network-policy', namespace, labels: agentPodLabels },
    agentPodLabels,
    [agentStatusPort],
    [{ ports: apiServerEgress(values.apiServerPorts, others) }, ...(allow.length > 0 ? [{}] : [])],
  );
}

/** Undefined: there is no proxy, or its URL is not valid. The agent reports a URL that is not valid. */
function proxyPort(proxy: string): number | undefined {
  if (proxy === '') return undefined;
  try {
    return parseProxyUrl(proxy).port;
  } catch (thrown) {
    if (thrown instanceof ProxyUrlError) return undefined;
    throw thrown;
  }
}
