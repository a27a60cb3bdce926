import type { KubeObject } from '../../kube/client/kube-object.ts';
import { serverLabel } from '../api/names.ts';
import { apiServerEgress, networkPolicy, tcp } from '../api/network-policy.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import { brokerPorts } from './broker-args.ts';
import type { BrokerRedis } from './broker-redis.ts';

/** Node drains and upgrades stop one broker at a time. */
export function disruptionBudget(configuration: ManagedProxyConfiguration): KubeObject {
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
 * kube-apiserver, Redis and other brokers.
 */
export function brokerNetworkPolicy(
  configuration: ManagedProxyConfiguration,
  redis: BrokerRedis | undefined,
  apiServerPorts: readonly number[],
): KubeObject {
  const brokers = [{ podSelector: { matchLabels: serverLabel } }];
  return networkPolicy(
    hubMeta(configuration, 'cluster-proxy-proxy-server-network-policy'),
    serverLabel,
    Object.values(brokerPorts),
    [
      { ports: apiServerEgress(apiServerPorts) },
      ...(redis === undefined
        ? []
        : [{ ports: redis.ports.map(tcp) }, { to: brokers, ports: [tcp(brokerPorts.agent)] }]),
    ],
  );
}
