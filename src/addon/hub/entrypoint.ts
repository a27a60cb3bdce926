import type { KubeObject } from '../../kube/client/kube-object.ts';
import { items, fields, text } from '../api/fields.ts';
import { findObject } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { formatHostPort } from '../../base/net/host-port.ts';

/** An address that agents connect to: `wss://host:port`. */
export interface DirectEntrypoint {
  readonly kind: 'Hostname' | 'LoadBalancerService' | 'Ingress';
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

/**
 * Agents connect through the service proxy of the hub's kube-apiserver, and need no other address.
 */
export interface HubEntrypoint {
  readonly kind: 'PortForward';
  /** `NAMESPACE/SCHEME:SERVICE:PORTNAME`, as `culvert agent --broker-via-hub` takes it. */
  readonly viaHub: string;
}

/** There is no entrypoint yet. The sentence says what is missing. */
export interface PendingEntrypoint {
  readonly pending: string;
}

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
): DirectEntrypoint | HubEntrypoint | PendingEntrypoint {
  const { namespace, entrypoint } = configuration.spec.proxyServer;
  const { type, hostname, ingress, port } = entrypoint;
  if (type === 'PortForward') {
    return { kind: type, viaHub: `${namespace}/${serviceProxyResource(configuration)}` };
  }
  if (type === 'Hostname') {
    return hostname.value === '' ? missing('hostname.value') : direct(type, hostname.value, port);
  }
  if (type === 'Ingress') {
    return ingress.host === undefined
      ? missing('ingress.host')
      : direct(type, ingress.host, ingress.port);
  }
  const { name } = entrypoint.loadBalancerService;
  const service = findObject(observed, 'Service', name, namespace);
  const [host] = loadBalancerHosts(service);
  if (host !== undefined) return direct(type, host, port);
  const problem =
    service === undefined
      ? 'does not exist yet'
      : 'has no address yet: its status.loadBalancer.ingress is empty; look at its events';
  return { pending: `Service ${namespace}/${name} ${problem}` };
}

/** The name of the agents' port in `services/proxy` of the kube-apiserver. */
export function serviceProxyResource({ spec }: ManagedProxyConfiguration): string {
  return `https:${spec.proxyServer.inClusterServiceName}:${agentPortName}`;
}

const missing = (field: string): PendingEntrypoint => ({
  pending: `spec.proxyServer.entrypoint.${field} is missing`,
});

function direct(kind: DirectEntrypoint['kind'], host: string, port: number): DirectEntrypoint {
  return { kind, host, port, url: `wss://${formatHostPort({ host, port })}` };
}

/** The addresses or names of a load balancer. A cloud assigns one or the other. */
function loadBalancerHosts(service: KubeObject | undefined): readonly string[] {
  const { loadBalancer } = fields(service?.['status']);
  return items(fields(loadBalancer).ingress)
    .map(({ ip, hostname }) => text(ip) || text(hostname))
    .filter((host) => host !== '');
}

/** The names in the certificates of proxy-server, agent-server and proxy-client. */
export function serverSans(
  { spec }: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
): readonly string[] {
  const { namespace, inClusterServiceName: service, entrypoint } = spec.proxyServer;
  const { additionalSANs } = spec.authentication.signer.selfSigned;
  const sans = [
    ...additionalSANs,
    '127.0.0.1',
    // clusteradm and clients of a port-forward verify this name.
    'localhost',
    `${service}.${namespace}`,
    `${service}.${namespace}.svc`,
  ];
  if (entrypoint.type === 'Hostname') sans.push(entrypoint.hostname.value);
  // For an ingress with TLS passthrough.
  if (entrypoint.type === 'Ingress') sans.push(entrypoint.ingress.host ?? '');
  if (entrypoint.type === 'LoadBalancerService') {
    const { name } = entrypoint.loadBalancerService;
    sans.push(...loadBalancerHosts(findObject(observed, 'Service', name, namespace)));
  }
  return [...new Set(sans.filter((san) => san !== ''))];
}
