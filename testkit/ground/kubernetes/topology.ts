/**
 * One network segment, 192.168.77.0/24, joins the clusters: each is a node with a network namespace of its own. The hub shows
 * the outside three addresses, each with TCP 443 alone: its kube-apiserver, its load balancer, its ingress. That is all that
 * `cluster1` is let out to. `2nd-cluster` is let out only to an HTTP proxy on the segment, which wants a password.
 */
export interface ClusterPlan {
  readonly name: string;
  /** 1 to 9; everything that must differ between clusters follows from it. */
  readonly index: number;
  /** What is let out: `open` everything, `direct` TCP 443 of the hub's entrypoints, `proxy` the HTTP proxy. */
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

/** How the hub is seen from outside. */
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
/** With its password, as clients are configured with it. */
export const egressProxyUrl = `http://${egressProxy.user}:${egressProxy.password}@${egressProxy.address}:${egressProxy.port}`;

export const apiPort = 6443;
export const clusterDomain = 'cluster.local';

/** What follows from the place of a cluster. */
export interface ClusterAddresses {
  readonly node: string;
  readonly podRange: string;
  readonly serviceRange: string;
  /** Service `kubernetes`. */
  readonly apiService: string;
  readonly dnsService: string;
  /** The ends of its cable: on the segment, and in its own namespace before it becomes eth0. */
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
