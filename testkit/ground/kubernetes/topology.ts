/**
 * One network segment, 192.168.77.0/24, joins the clusters. Each cluster is a node with its own
 * network namespace. The hub has three external addresses, each with only TCP 443: its
 * kube-apiserver, its load balancer and its ingress. The firewall of `cluster1` allows only these.
 * The firewall of `2nd-cluster` allows only an HTTP proxy on the segment, which needs a password.
 */
export interface ClusterPlan {
  readonly name: string;
  /** 1 to 9. Addresses and names that must differ between clusters are derived from it. */
  readonly index: number;
  /** What the firewall allows: all, TCP 443 of the hub's entrypoints, or only the HTTP proxy. */
  readonly egress: 'open' | 'direct' | 'proxy';
  /** How its klusterlet gets credentials for the hub's API server for addons (default `csr`). */
  readonly addonRegistration?: 'csr' | 'token';
}

export const hubPlan: ClusterPlan = { name: 'hub', index: 1, egress: 'open' };
export const managedPlans: readonly ClusterPlan[] = [
  { name: 'cluster1', index: 2, egress: 'direct' },
  { name: '2nd-cluster', index: 3, egress: 'proxy' },
];

export const segment = { gateway: '192.168.77.1', prefixLength: 24 } as const;

/** The external addresses of the hub. */
export const entrypoints = {
  /** kube-apiserver. */
  api: { address: '192.168.77.21', name: 'api.hub.culvert.test' },
  /** Services of type LoadBalancer. */
  loadBalancer: { address: '192.168.77.22', name: 'broker.hub.culvert.test' },
  /** Ingresses: nginx, which ends TLS. */
  ingress: { address: '192.168.77.23', name: 'ingress.hub.culvert.test' },
} as const;
export const entrypointPort = 443;

export const egressProxy = {
  address: segment.gateway,
  port: 3128,
  user: 'egress',
  password: 'correct-horse',
} as const;
/** The proxy's URL with its password, for clients. */
export const egressProxyUrl = `http://${egressProxy.user}:${egressProxy.password}@${egressProxy.address}:${egressProxy.port}`;

export const apiPort = 6443;
export const clusterDomain = 'cluster.local';

/** The addresses of a cluster, derived from its index. */
export interface ClusterAddresses {
  readonly node: string;
  readonly podRange: string;
  readonly serviceRange: string;
  /** Service `kubernetes`. */
  readonly apiService: string;
  readonly dnsService: string;
  /** The ends of its veth pair: on the segment, and in its namespace before it becomes eth0. */
  readonly port: string;
  readonly cable: string;
}

export function addressesOf({ index }: ClusterPlan): ClusterAddresses {
  return {
    node: `192.168.77.1${index}`,
    podRange: `10.77.${index}.0/24`,
    serviceRange: `10.9${index}.0.0/24`,
    apiService: `10.9${index}.0.1`,
    dnsService: `10.9${index}.0.10`,
    port: `port${index}`,
    cable: `cable${index}`,
  };
}
