import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';

export const tcp = (port: number) => ({ protocol: 'TCP', port });
const udp = (port: number) => ({ protocol: 'UDP', port });

/** DNS. Some distributions use port 5353. */
const dnsEgress = [udp(53), tcp(53), udp(5353), tcp(5353)];

/**
 * Egress to kube-apiservers and to the ports `others`. A policy cannot name a kube-apiserver, and
 * the address of one may change, so peers are limited by port alone. A policy applies to the
 * address behind the Service `kubernetes`, so the port is the one on which the kube-apiserver
 * listens. It differs between distributions.
 *
 * @param apiServerPorts empty: the ports are not known, so every TCP port is allowed
 */
export function apiServerEgress(apiServerPorts: readonly number[], others: readonly number[] = []) {
  if (apiServerPorts.length === 0) return [{ protocol: 'TCP' }];
  return [...new Set([...apiServerPorts, ...others])].map(tcp);
}

/**
 * A policy for pods with `podLabels`: traffic comes in on `ingress`, and goes out to DNS and to
 * `egress`.
 */
export function networkPolicy(
  metadata: ObjectMeta,
  podLabels: Readonly<Record<string, string>>,
  ingress: readonly number[],
  egress: readonly object[],
): KubeObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata,
    spec: {
      podSelector: { matchLabels: podLabels },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: ingress.map(tcp) }],
      egress: [{ ports: dnsEgress }, ...egress],
    },
  };
}
