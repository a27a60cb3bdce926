import type { ManagedProxyConfiguration } from '../api/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import { brokerPorts } from './broker-args.ts';
import type { BrokerRedis } from './broker-redis.ts';
import { hubMeta, serverLabel } from './hub-object.ts';

/** Drains and node upgrades take one broker at a time. */
export function disruptionBudget(configuration: ManagedProxyConfiguration): KubeObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: hubMeta(configuration, configuration.name),
    spec: { maxUnavailable: 1, selector: { matchLabels: serverLabel } },
  };
}

const tcp = (port: number) => ({ protocol: 'TCP', port });
const udp = (port: number) => ({ protocol: 'UDP', port });

/**
 * By ports, as peers cannot be selected on every cluster: in come clients, agents, probes and scrapers; out go names (5353 on
 * some distributions), the kube-apiserver, Redis and the other brokers.
 */
export function brokerNetworkPolicy(
  configuration: ManagedProxyConfiguration,
  redis: BrokerRedis | undefined,
): KubeObject {
  const { client, agent, status } = brokerPorts;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: hubMeta(configuration, 'cluster-proxy-proxy-server-network-policy'),
    spec: {
      podSelector: { matchLabels: serverLabel },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: [client, agent, status].map(tcp) }],
      egress: [
        { ports: [udp(53), tcp(53), udp(5353), tcp(5353)] },
        { ports: [tcp(443), tcp(6443)] },
        ...(redis === undefined
          ? []
          : [
              { ports: redis.ports.map(tcp) },
              { to: [{ podSelector: { matchLabels: serverLabel } }], ports: [tcp(agent)] },
            ]),
      ],
    },
  };
}
