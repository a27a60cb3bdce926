import type { TcpTarget } from '../tunnel/stream-request.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { BridgeFrontOptions } from './options.ts';

/** The cluster and target that a client's address means. */
export interface Destination {
  readonly cluster: string;
  readonly target: TcpTarget;
}

/** Finds the destination of an address. @throws KonnectivityError with the text that the client gets */
export type ResolveDestination = (network: string, address: string) => Destination;

/**
 * A DNS label, which names of clusters, namespaces and services are. A managed cluster has a
 * namespace of its name on the hub cluster, so its name has no dot. The dots of an address
 * therefore show which part is the cluster.
 */
const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const clusterName = new RegExp(`^${label}$`);
const namespacedName = new RegExp(`^(${label})\\.${label}$`);
const hashedName = /^(cluster-[0-9a-f]{48})\.open-cluster-management\.proxy$/;
const serviceName = new RegExp(`^(${label}\\.${label}\\.svc)\\.(${label})$`);

/**
 * Resolves the names that clients of Cluster Proxy use, compared exactly, with any port.
 * `<cluster>`, `<cluster>.<install namespace>` and `cluster-<48 hex of
 * sha256>.open-cluster-management.proxy` mean the cluster's kube-apiserver.
 * `<service>.<namespace>.svc.<cluster>` means a service. The agent gets the whole name, because
 * only the agent knows its install namespace. In single-cluster mode every host is the target's own
 * name.
 */
export function destinationResolver(
  options: Pick<BridgeFrontOptions, 'cluster'>,
): ResolveDestination {
  return (network, address) => {
    if (network !== 'tcp') {
      throw new KonnectivityError(
        'unsupported_network',
        `dial ${network}: unknown network ${network}`,
      );
    }
    const { host, port } = parseAddress(address);
    if (options.cluster !== undefined) return destination(options.cluster, host, port);
    const service = serviceName.exec(host);
    if (service !== null) return destination(service[2]!, service[1]!, port);
    const hashed = hashedName.exec(host);
    // The broker knows this alias of the cluster, and the agent takes it for its kube-apiserver.
    if (hashed !== null) return destination(hashed[1]!, hashed[1]!, port);
    const namespaced = namespacedName.exec(host);
    if (namespaced !== null) return destination(namespaced[1]!, host, port);
    if (clusterName.test(host)) return destination(host, host, port);
    throw new KonnectivityError('unknown_destination', noAgentText);
  };
}

/** The error for a destination without an agent. Clients compare this text. */
export const noAgentText = 'No agent available';

function destination(cluster: string, host: string, port: number): Destination {
  return { cluster, target: { kind: 'tcp', host, port } };
}

/**
 * Splits `host:port` or `[v6]:port`. Errors have the words of Go's net package, because operators
 * search logs for them.
 */
export function parseAddress(address: string): TcpAddressParts {
  const colon = address.lastIndexOf(':');
  if (address === '') throw invalid('missing address');
  if (colon < 0 || (address.startsWith('[') && address.endsWith(']'))) {
    throw invalid(`address ${address}: missing port in address`);
  }
  const bracketed = address.startsWith('[') && address[colon - 1] === ']';
  const host = bracketed ? address.slice(1, colon - 1) : address.slice(0, colon);
  if (!bracketed && host.includes(':'))
    throw invalid(`address ${address}: too many colons in address`);
  if (/[[\]]/.test(host)) throw invalid(`address ${address}: unexpected bracket in address`);
  if (host === '') throw invalid(`address ${address}: missing host in address`);
  const portText = address.slice(colon + 1);
  if (!/^\d+$/.test(portText)) throw invalid(`lookup tcp/${portText}: unknown port`);
  const port = Number(portText);
  if (port < 1 || port > 65_535) throw invalid(`address ${portText}: invalid port`);
  return { host, port };
}

interface TcpAddressParts {
  readonly host: string;
  readonly port: number;
}

function invalid(text: string): KonnectivityError {
  return new KonnectivityError('invalid_address', `dial tcp: ${text}`);
}
