import { parseHostWithOptionalPort } from '../../base/net/host-port.ts';
import { parseProxyUrl, ProxyUrlError } from '../../base/net/proxy.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { apiServerEgress, dnsEgress, tcp } from '../api/network-egress.ts';
import { agentStatusPort } from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';

/**
 * What agents may reach and be reached by, where NetworkPolicies are wanted. Peers are ports alone: neither the hub nor a
 * kube-apiserver can be named in a policy. Where the agent has targets besides
 * the kube-apiserver, those can be anything, so everything may be reached.
 */
export function agentNetworkPolicy(
  values: AgentValues,
  podLabels: Readonly<Record<string, string>>,
): KubeObject {
  const { installNamespace, entrypoint, proxyEnvironment, allow, settings } = values;
  const { HTTP_PROXY = '', HTTPS_PROXY = '' } = proxyEnvironment;
  const others = [
    ...apiServerPortOf(settings.get('kube-apiserver')),
    ...(entrypoint.t === 'direct' ? [entrypoint.port] : []),
    ...[HTTP_PROXY, HTTPS_PROXY].flatMap(proxyPort),
  ];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name: 'cluster-proxy-proxy-agent-network-policy',
      namespace: installNamespace,
      labels: podLabels,
    },
    spec: {
      podSelector: { matchLabels: podLabels },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: [tcp(agentStatusPort)] }],
      egress: [
        { ports: dnsEgress },
        { ports: apiServerEgress(values.apiServerPorts, others) },
        ...(allow.length > 0 ? [{}] : []),
      ],
    },
  };
}

/** Of the agent's setting, where it names one; the port of a Service is not what a policy sees. */
function apiServerPortOf(setting: string | undefined): number[] {
  const port = setting === undefined ? undefined : parseHostWithOptionalPort(setting).port;
  return port === undefined ? [] : [port];
}

/** None where there is no proxy, or its URL cannot be used: the agent reports that one. */
function proxyPort(proxy: string): number[] {
  if (proxy === '') return [];
  try {
    return [parseProxyUrl(proxy).port];
  } catch (thrown) {
    if (thrown instanceof ProxyUrlError) return [];
    throw thrown;
  }
}
