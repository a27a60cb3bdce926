import type { KubeObject } from '../../kube/client/kube-object.ts';
import { items, fields, text } from '../api/fields.ts';
import { findObject } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { formatHostPort } from '../../base/net/host-port.ts';

/** The name of the agents' port in the Service inside the cluster. */
export const agentPortName = 'agent-server';

/**
 * The entrypoint of agents, from the configuration and the status of the load balancer.
 * `spec.proxyServer.entrypoint.port` counts for Hostname and LoadBalancerService. PortForward uses
 * the port of the Service, and Ingress has its own port.
 */
export function resolveEntrypoint(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
) {
  const { namespace, entrypoint } = configuration.spec.proxyServer;
  const { type, ingress, loadBalancerService } = entrypoint;
  if (type === 'PortForward') {
    // Agents connect through the service proxy of the hub's kube-apiserver. This is
    // `NAMESPACE/SCHEME:SERVICE:PORTNAME`, as `culvert agent --broker-via-hub` takes it.
    return { kind: type, viaHub: `${namespace}/${serviceProxyResource(configuration)}` };
  }
  const [host] = agentHosts(configuration, observed);
  if (host !== undefined) {
    const port = type === 'Ingress' ? ingress.port : entrypoint.port;
    return { kind: type, host, port, url: `wss://${formatHostPort({ host, port })}` };
  }
  if (type !== 'LoadBalancerService') {
    const field = type === 'Hostname' ? 'hostname.value' : 'ingress.host';
    return { pending: `spec.proxyServer.entrypoint.${field} is missing` };
  }
  const { name } = loadBalancerService;
  const problem =
    findObject(observed, 'Service', name, namespace) === undefined
      ? 'does not exist yet'
      : 'has no address yet: its status.loadBalancer.ingress is empty; look at its events';
  return { pending: `Service ${namespace}/${name} ${problem}` };
}

/** The name of the agents' port in `services/proxy` of the kube-apiserver. */
export function serviceProxyResource({ spec }: ManagedProxyConfiguration): string {
  return `https:${spec.proxyServer.inClusterServiceName}:${agentPortName}`;
}

/**
 * The names or addresses of a direct entrypoint. A cloud assigns one or the other to a load
 * balancer.
 */
function agentHosts({ spec }: ManagedProxyConfiguration, observed: readonly KubeObject[]) {
  const { namespace, entrypoint } = spec.proxyServer;
  const { type, hostname, ingress, loadBalancerService } = entrypoint;
  const service = findObject(observed, 'Service', loadBalancerService.name, namespace);
  const { loadBalancer } = fields(service?.['status']);
  const hosts = {
    PortForward: [],
    Hostname: [hostname.value],
    Ingress: [ingress.host ?? ''],
    LoadBalancerService: items(fields(loadBalancer).ingress).map(
      ({ ip, hostname }) => text(ip) || text(hostname),
    ),
  };
  return hosts[type].filter((host) => host !== '');
}

/** The names in the certificates of proxy-server, agent-server and proxy-client. */
export function serverSans(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
): readonly string[] {
  const { authentication, proxyServer } = configuration.spec;
  const service = `${proxyServer.inClusterServiceName}.${proxyServer.namespace}`;
  const sans = [
    ...authentication.signer.selfSigned.additionalSANs,
    '127.0.0.1',
    // clusteradm and clients of a port-forward verify this name.
    'localhost',
    service,
    `${service}.svc`,
    // The name of an Ingress is needed if it passes TLS through.
    ...agentHosts(configuration, observed),
  ];
  return [...new Set(sans.filter((san) => san !== ''))];
}
