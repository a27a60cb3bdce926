import { isIP } from 'node:net';
import type { AlternativeNames } from '../../base/x509.ts';

/** What the hub's servers are called, by all who connect to them. */
export interface HubNamesOptions {
  /** `spec.authentication.signer.selfSigned.additionalSANs` */
  readonly additional: readonly string[];
  /** `spec.proxyServer.inClusterServiceName` */
  readonly serviceName: string;
  readonly namespace: string;
  /** The host of an entrypoint of type Hostname or Ingress. */
  readonly hostname?: string | undefined;
  /** Addresses and host names that the load balancer has. */
  readonly loadBalancer?: readonly string[] | undefined;
}

export type HubNames = Pick<AlternativeNames, 'dns' | 'ips'>;

/**
 * The names in the certificates of the hub's servers and of its client, sorted. An address is among the DNS names as well: some
 * clients look for it there. Clients of Cluster Proxy that forward a port expect localhost.
 */
export function hubNames(options: HubNamesOptions): HubNames {
  const { additional, serviceName, namespace, hostname, loadBalancer = [] } = options;
  const names = new Set([
    ...additional,
    '127.0.0.1',
    'localhost',
    `${serviceName}.${namespace}`,
    `${serviceName}.${namespace}.svc`,
    ...(hostname === undefined ? [] : [hostname]),
    ...loadBalancer,
  ]);
  names.delete('');
  const dns = [...names].toSorted();
  return { dns, ips: dns.filter((name) => isIP(name) !== 0) };
}
