import {
  type DestinationPattern,
  parseDestinationPattern,
} from '../base/net/destination-pattern.ts';
import { isDnsLabel } from '../base/names/cluster-name.ts';
import { describeError } from '../base/error.ts';
import { isInRange, parseIpAddress } from '../base/net/ip-address.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import {
  forbiddenTarget,
  otherNamespace,
  reservedAddress,
  withheldApiserver,
} from './dial-error.ts';
import { reservedRangeOf } from './reserved-addresses.ts';

/** A destination as it is really dialed. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  /** The operator configured it as the kube-apiserver: it may be at any address. */
  readonly isKubeApiserver: boolean;
}

export interface DestinationPolicyOptions {
  /**
   * The name of the cluster's kube-apiserver, besides the cluster's alias and `<cluster>.<install
   * namespace>`.
   */
  readonly cluster: string;
  /** The namespace of this agent; undefined: not known, and the cluster has no such name. */
  readonly installNamespace?: string | undefined;
  readonly clusterAlias: string;
  /**
   * The address of the kube-apiserver. Without a port, the requested one is used. Undefined: the
   * cluster's names are refused.
   */
  readonly kubeApiserver: { readonly host: string; readonly port: number | undefined } | undefined;
  /** `host:port`, `*.suffix:port`, `host:*`, `CIDR:port`, with brackets around IPv6. */
  readonly allow: readonly string[];
}

/**
 * The destinations that this agent dials: the cluster's own kube-apiserver, and the list of its
 * operator. The hub cannot widen the list, because nothing that comes over the tunnel changes it.
 */
export class DestinationPolicy {
  readonly #options: DestinationPolicyOptions;
  readonly #rules: readonly DestinationPattern[];

  /** @throws RangeError for a pattern that is none, naming it */
  constructor(options: DestinationPolicyOptions) {
    this.#options = options;
    this.#rules = options.allow.map(parseRule);
  }

  /** The destination to dial for a target; undefined: not allowed. */
  resolve(host: string, port: number): Destination | undefined {
    const { kubeApiserver } = this.#options;
    if (this.#isCluster(host)) {
      return (
        kubeApiserver && {
          host: kubeApiserver.host,
          port: kubeApiserver.port ?? port,
          isKubeApiserver: true,
        }
      );
    }
    const name = nameOf(host);
    if (name === kubeApiserver?.host && (kubeApiserver.port ?? port) === port) {
      return { host, port, isKubeApiserver: true };
    }
    const destination: Destination = { host, port, isKubeApiserver: false };
    if (!this.#rules.some(({ matches }) => matches(name, port))) return undefined;
    return this.addressRefusal(destination, host) === undefined ? destination : undefined;
  }

  /** Whether `resolve` allows a host at some port. The host is not a name of the cluster. */
  allowsHost(host: string): boolean {
    const name = nameOf(host);
    return (
      name === this.#options.kubeApiserver?.host ||
      this.#rules.some(({ matchesHost }) => matchesHost(name))
    );
  }

  /**
   * Why a destination must not be dialed at one of its addresses. Loopback, link-local, metadata
   * and other reserved addresses are for the machine itself, so a rule for names or for all
   * addresses does not include them: a rule must name the address, or a range of such addresses.
   * Names may resolve to any address at any time. So every address is checked, and only checked
   * addresses are connected to.
   */
  addressRefusal(destination: Destination, address: string): TunnelError | undefined {
    const { host, port, isKubeApiserver } = destination;
    if (isKubeApiserver) return undefined;
    const parsed = parseIpAddress(address);
    const reserved = parsed && reservedRangeOf(parsed);
    if (parsed === undefined || reserved === undefined) return undefined;
    const isListed = this.#rules.some(
      ({ hasPort, ranges }) =>
        hasPort(port) &&
        ranges.some((range) => range.bits >= reserved.range.bits && isInRange(parsed, range)),
    );
    return isListed ? undefined : reservedAddress({ host, port }, address, reserved.what);
  }

  /** The error for a target that `resolve` does not allow. */
  refusal(host: string, port: number): TunnelError {
    if (this.#isCluster(host)) return withheldApiserver(host, port);
    if (this.#rules.some(({ matches }) => matches(nameOf(host), port))) {
      const destination: Destination = { host, port, isKubeApiserver: false };
      const reserved = this.addressRefusal(destination, host);
      if (reserved !== undefined) return reserved;
    }
    const { cluster, installNamespace } = this.#options;
    const namespace = host.startsWith(`${cluster}.`) ? host.slice(cluster.length + 1) : '';
    return isDnsLabel(namespace)
      ? otherNamespace({ host, port }, cluster, installNamespace)
      : forbiddenTarget(host, port);
  }

  #isCluster(host: string): boolean {
    const { cluster, clusterAlias, installNamespace } = this.#options;
    if (host === cluster || host === clusterAlias) return true;
    return installNamespace !== undefined && host === `${cluster}.${installNamespace}`;
  }
}

function nameOf(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

function parseRule(pattern: string): DestinationPattern {
  try {
    return parseDestinationPattern(pattern);
  } catch (thrown) {
    throw new RangeError(`"${pattern}" ${describeError(thrown)}`, { cause: thrown });
  }
}
