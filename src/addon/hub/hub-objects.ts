import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { addonName, hubLabel, serverAccount, serverLabel } from '../api/names.ts';
import { apiServerEgress, networkPolicy, tcp } from '../api/network-policy.ts';
import { role, roleBinding, rule, serviceAccount } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { clusterMeta, hubMeta, ownerOf } from '../configuration/owned-metadata.ts';
import { type BrokerInput, brokerPorts, userPort } from './broker-args.ts';
import { brokerDeployment } from './broker-deployment.ts';
import { agentPortName, serviceProxyResource } from './entrypoint.ts';
import type { TlsProfile } from './tls-profile.ts';

/** Everything from which the objects of the hub are rendered. */
export interface HubInput extends Omit<BrokerInput, 'tls'> {
  /** Undefined: the profile is not valid. It is not replaced by a weaker one. */
  readonly tls: TlsProfile | undefined;
  /** The Secret with the key by which replicas recognize each other. */
  readonly key: KubeObject;
}

/** The objects of the hub, in the order in which they depend on each other. */
export function hubObjects(input: HubInput): readonly KubeObject[] {
  const { configuration, redis, replicas, tls, key } = input;
  const { namespace, entrypoint } = configuration.spec.proxyServer;
  const objects: KubeObject[] = [
    // The configuration does not own the namespace, because it may contain other objects. Cluster
    // Proxy does the same.
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    ...brokerAccounts(configuration),
    entrypointService(configuration),
  ];
  if (entrypoint.type === 'LoadBalancerService') objects.push(loadBalancerService(configuration));
  if (entrypoint.type === 'Ingress') objects.push(agentIngress(configuration));
  if (entrypoint.type === 'PortForward') objects.push(portForwardRoleObject(configuration));
  if (input.enableNetworkPolicies) objects.push(brokerNetworkPolicy(input));
  if (redis !== undefined) objects.push(key);
  if (replicas > 1) objects.push(disruptionBudget(configuration));
  // Without a valid profile, the Deployment stays as it is.
  if (tls !== undefined) objects.push(brokerDeployment({ ...input, tls }));
  return objects;
}

const brokerRoleName = 'open-cluster-management:cluster-proxy:proxy-server';

/**
 * The Role that lets agents open tunnels through the hub's kube-apiserver. Each cluster has its own
 * binding to it. The name is from Cluster Proxy, whose Role allows everything on pods.
 */
export const portForwardRoleName = 'cluster-proxy-addon-agent:portforward';

/** The Role for agents' bindings, and its owner. */
export type TunnelRole = Readonly<NonNullable<ReturnType<typeof portForwardRole>>>;

/** Undefined: agents do not connect through the kube-apiserver. */
export function portForwardRole(configuration: ManagedProxyConfiguration, entrypoint: object) {
  if (!('viaHub' in entrypoint)) return undefined;
  const { namespace } = configuration.spec.proxyServer;
  return { namespace, name: portForwardRoleName, owner: ownerOf(configuration) };
}

/**
 * The ServiceAccount of brokers and its rights: to check the tokens of agents, to see which clusters
 * are accepted, and to review the access of clients if that is asked for. Cluster Proxy has the account `cluster-proxy` as well. It is often the
 * addon manager's, so the configuration does not own it.
 */
function brokerAccounts(configuration: ManagedProxyConfiguration): readonly KubeObject[] {
  const { namespace, hubAuthorization } = configuration.spec.proxyServer;
  const account = { kind: 'ServiceAccount', name: serverAccount, namespace } as const;
  const clusterWide = clusterMeta(configuration, brokerRoleName);
  return [
    serviceAccount({ namespace, name: addonName, labels: hubLabel }),
    serviceAccount(hubMeta(configuration, serverAccount), { automountServiceAccountToken: false }),
    role(clusterWide, [
      rule('authentication.k8s.io', 'tokenreviews', ['create']),
      rule('cluster.open-cluster-management.io', 'managedclusters', ['get', 'list', 'watch']),
      ...(hubAuthorization !== 'None'
        ? [rule('authorization.k8s.io', 'subjectaccessreviews', ['create'])]
        : []),
    ]),
    roleBinding(clusterWide, brokerRoleName, account),
  ];
}

/** Allows one verb on one port of one Service. */
export function portForwardRoleObject(configuration: ManagedProxyConfiguration): KubeObject {
  return role(hubMeta(configuration, portForwardRoleName), [
    rule('', 'services/proxy', ['get'], serviceProxyResource(configuration)),
  ]);
}

/**
 * The Service inside the hub: 8090 for konnectivity clients, 8091 for agents from an ingress or
 * through the kube-apiserver.
 */
function entrypointService(configuration: ManagedProxyConfiguration): KubeObject {
  const { proxyServer } = configuration.spec;
  return service('ClusterIP', hubMeta(configuration, proxyServer.inClusterServiceName), [
    port('proxy-server', brokerPorts.client),
    port(agentPortName, brokerPorts.agent),
  ]);
}

/**
 * The load balancer for agents. Cluster Proxy also exposes 8090 there, which lets managed clusters
 * reach the port for clients of the hub.
 */
function loadBalancerService(configuration: ManagedProxyConfiguration): KubeObject {
  const { entrypoint } = configuration.spec.proxyServer;
  const { name, annotations } = entrypoint.loadBalancerService;
  const ports = [port(agentPortName, entrypoint.port, brokerPorts.agent)];
  return service('LoadBalancer', hubMeta(configuration, name, { annotations }), ports);
}

function service(type: string, metadata: ObjectMeta, ports: readonly object[]): KubeObject {
  const spec = { type, selector: serverLabel, ports };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec };
}

function port(name: string, port: number, targetPort = port): object {
  return { name, port, targetPort, protocol: 'TCP' };
}

/**
 * For ingress-nginx: the broker speaks TLS, and tunnels live for days. Other controllers ignore
 * these annotations.
 */
const ingressAnnotations = {
  'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
  'nginx.ingress.kubernetes.io/proxy-read-timeout': '3600',
  'nginx.ingress.kubernetes.io/proxy-send-timeout': '3600',
} as const;

/** The Ingress for agents. It leads to the agents' endpoint and to no other path of the broker. */
function agentIngress(configuration: ManagedProxyConfiguration): KubeObject {
  const { entrypoint, inClusterServiceName } = configuration.spec.proxyServer;
  const { host = '', className, annotations, tlsSecretName } = entrypoint.ingress;
  const backend = { service: { name: inClusterServiceName, port: { name: agentPortName } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: hubMeta(configuration, 'cluster-proxy', {
      annotations: { ...ingressAnnotations, ...annotations },
    }),
    spec: {
      ...(className !== undefined && { ingressClassName: className }),
      // Without a Secret, the controller shows its own certificate.
      tls: [{ hosts: [host], ...(tlsSecretName !== undefined && { secretName: tlsSecretName }) }],
      rules: [{ host, http: { paths: [{ path: '/v1/agent', pathType: 'Exact', backend }] } }],
    },
  };
}

/** Node drains and upgrades stop one broker at a time. */
function disruptionBudget(configuration: ManagedProxyConfiguration): KubeObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: hubMeta(configuration, configuration.name),
    spec: { maxUnavailable: 1, selector: { matchLabels: serverLabel } },
  };
}

/**
 * The NetworkPolicy of brokers. It limits ports, because not every network plugin can select peers.
 * Clients, agents, probes and scrapers connect to brokers. Brokers connect to DNS, the
 * kube-apiserver, Redis, other brokers and, for HTTP clients, to OIDC issuers.
 */
function brokerNetworkPolicy(input: HubInput): KubeObject {
  const { configuration, redis, apiServerPorts, exposedServices } = input;
  const brokers = [{ podSelector: { matchLabels: serverLabel } }];
  const egress: object[] = [{ ports: apiServerEgress(apiServerPorts) }];
  if (redis !== undefined) {
    egress.push({ ports: redis.ports.map(tcp) });
    egress.push({ to: brokers, ports: [tcp(brokerPorts.agent)] });
  }
  // The OIDC issuers of clusters can be at any address and port.
  if (exposedServices !== undefined && apiServerPorts.length > 0) {
    egress.push({ ports: [{ protocol: 'TCP' }] });
  }
  const metadata = hubMeta(configuration, 'cluster-proxy-proxy-server-network-policy');
  const users = exposedServices === undefined ? [] : [userPort];
  const ingress = [...Object.values(brokerPorts), ...users];
  return networkPolicy(metadata, serverLabel, ingress, egress);
}
