import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { apiServerEgress, dnsEgress, tcp } from '../api/network-egress.ts';
import { brokerPorts } from './broker-args.ts';
import type { BrokerRedis } from './broker-redis.ts';
import { serverLabel } from '../api/names.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';

/** Drains and node upgrades take one broker at a time. */
export function disruptionBudget(configuration: ManagedProxyConfiguration): KubeObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: hubMeta(configuration, configuration.name),
    spec: { maxUnavailable: 1, selector: { matchLabels: serverLabel } },
  };
}

/**
 * By ports, as peers cannot be selected on every cluster: in come clients, agents, probes and scrapers; out go names, the
 * kube-apiserver, Redis and the other brokers.
 */
export function brokerNetworkPolicy(
  configuration: ManagedProxyConfiguration,
  redis: BrokerRedis | undefined,
  apiServerPorts: readonly number[],
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
        { ports: dnsEgress },
        { ports: apiServerEgress(apiServerPorts) },
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
