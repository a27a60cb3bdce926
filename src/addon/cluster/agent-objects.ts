import { parseHostWithOptionalPort } from '../../base/net/host-port.ts';
import { parseProxyUrl, ProxyUrlError } from '../../base/net/proxy.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { addonName, annotations } from '../api/names.ts';
import { apiServerEgress, networkPolicy } from '../api/network-policy.ts';
import {
  leaseRules,
  role,
  roleBinding,
  rule,
  secret,
  serviceAccount,
  type Subject,
} from '../api/objects.ts';
import { agentDeployment, agentPodLabels } from './agent-deployment.ts';
import { agentCaSecret, agentServiceAccount, agentStatusPort } from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';

const roleName = `${addonName}-addon-agent`;

/**
 * All objects of the addon in a managed cluster. The largest come last, because objects at the end
 * overflow into another ManifestWork.
 */
export function agentObjects(values: AgentValues): readonly KubeObject[] {
  const { installNamespace: namespace } = values;
  const account = { kind: 'ServiceAccount', name: agentServiceAccount, namespace } as const;
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, annotations: { [annotations.deletionOrphan]: '' } },
    },
    serviceAccount({ name: agentServiceAccount, namespace }),
    role({ name: roleName, namespace }, leaseRules),
    roleBinding({ name: roleName, namespace }, roleName, account),
    ...(values.isServed ? impersonatorObjects(values, account) : []),
    ...(values.hasNetworkPolicy ? [agentNetworkPolicy(values)] : []),
    agentDeployment(values),
    secret({ name: agentCaSecret, namespace }, { 'ca.crt': values.trustedCertificates }),
  ];
}

const impersonatorName = 'cluster-proxy-addon-agent-impersonator';
/** OCM's own namespace for addons. Cluster Proxy names the binding after every other namespace. */
const ocmInstallNamespace = 'open-cluster-management-agent-addon';

/**
 * The rights for HTTP clients: to review tokens of the cluster, to read the ports of Services, and to
 * impersonate users whom the gateway has authenticated. The names are those of Cluster Proxy.
 */
function impersonatorObjects(
  { installNamespace, impersonates }: AgentValues,
  account: Subject,
): readonly KubeObject[] {
  const suffix = installNamespace === ocmInstallNamespace ? '' : `:${installNamespace}`;
  const bindingName = `${impersonatorName}${suffix}`;
  return [
    role({ name: impersonatorName }, [
      rule('authentication.k8s.io', 'tokenreviews', ['create']),
      // For Services whose port has a name in the URL.
      rule('', 'services', ['get']),
      ...(impersonates
        ? ['users', 'groups'].map((resource) => rule('', resource, ['impersonate']))
        : []),
    ]),
    roleBinding({ name: bindingName }, impersonatorName, account),
  ];
}

/**
 * The NetworkPolicy of agents. It limits ports, because a policy can name neither the hub nor a
 * kube-apiserver. An agent with targets besides the kube-apiserver, or with HTTP clients of Services,
 * may reach everything, because those targets can be anywhere.
 */
function agentNetworkPolicy(values: AgentValues): KubeObject {
  const { installNamespace: namespace, entrypoint, proxyEnvironment, allow, settings } = values;
  const { HTTP_PROXY = '', HTTPS_PROXY = '' } = proxyEnvironment;
  const apiServer = settings.get('kube-apiserver');
  const others = [
    // The setting may name a Service without a port. A policy does not see the port of a Service.
    ...(apiServer === undefined ? [] : [parseHostWithOptionalPort(apiServer).port]),
    ...('viaHub' in entrypoint ? [] : [entrypoint.port]),
    ...[HTTP_PROXY, HTTPS_PROXY].map(proxyPort),
  ].filter((port) => port !== undefined);
  return networkPolicy(
    { name: 'cluster-proxy-proxy-agent-network-policy', namespace, labels: agentPodLabels },
    agentPodLabels,
    [agentStatusPort],
    [
      { ports: apiServerEgress(values.apiServerPorts, others) },
      ...(allow.length > 0 || values.isServed ? [{}] : []),
    ],
  );
}

/**
 * Undefined: there is no proxy, or its URL is not valid. The agent reports a URL that is not valid.
 */
function proxyPort(proxy: string): number | undefined {
  if (proxy === '') return undefined;
  try {
    return parseProxyUrl(proxy).port;
  } catch (thrown) {
    if (thrown instanceof ProxyUrlError) return undefined;
    throw thrown;
  }
}
