/** A port of a NetworkPolicy; without a number every port of the protocol. */
export interface PolicyPort {
  readonly protocol: 'TCP' | 'UDP';
  readonly port?: number;
}

export const tcp = (port: number): PolicyPort => ({ protocol: 'TCP', port });
const udp = (port: number): PolicyPort => ({ protocol: 'UDP', port });

/** DNS; 5353 on some distributions. */
export const dnsEgress: readonly PolicyPort[] = [udp(53), tcp(53), udp(5353), tcp(5353)];

/**
 * Egress to kube-apiservers and to `others`. Peers are ports alone: a kube-apiserver cannot be named in a policy, and its address may
 * change. A policy applies to the address behind the Service `kubernetes`, so the port is the one that the kube-apiserver itself
 * listens on. That differs between distributions.
 *
 * @param apiServerPorts empty: they are not known, so every TCP port is allowed
 */
export function apiServerEgress(
  apiServerPorts: readonly number[],
  others: readonly number[] = [],
): readonly PolicyPort[] {
  if (apiServerPorts.length === 0) return [{ protocol: 'TCP' }];
  return [...new Set([...apiServerPorts, ...others])].map(tcp);
}
