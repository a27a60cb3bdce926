import { type DestinationMatch, parseDestinationPattern } from '../base/destination-pattern.ts';
import { isDnsLabel } from '../base/enrolment-token-subject.ts';
import { describeError } from '../base/error.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import { forbiddenTarget, otherNamespace, withheldApiserver } from './dial-error.ts';

/** A destination as it is really dialled. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

export interface DestinationPolicyOptions {
  /** The name that stands for the cluster's kube-apiserver, besides the cluster's alias and `<cluster>.<install namespace>`. */
  readonly cluster: string;
  /** Where this agent runs; undefined: nobody said, and the cluster has no such name. */
  readonly installNamespace?: string | undefined;
  readonly clusterAlias: string;
  /** Where the kube-apiserver is; without a port, the one that was asked for is used. Undefined: the cluster's names lead nowhere. */
  readonly kubeApiserver: { readonly host: string; readonly port: number | undefined } | undefined;
  /** `host:port`, `*.suffix:port`, `host:*`, `CIDR:port`, with brackets around IPv6. */
  readonly allow: readonly string[];
}

/**
 * What this agent dials for the hub: the cluster's own kube-apiserver, and what its operator lists. The hub cannot widen
 * it: nothing that comes over the tunnel changes the list.
 */
export class DestinationPolicy {
  readonly #options: DestinationPolicyOptions;
  readonly #rules: readonly DestinationMatch[];

  /** @throws RangeError for a pattern that is none, naming it */
  constructor(options: DestinationPolicyOptions) {
    this.#options = options;
    this.#rules = options.allow.map(parseRule);
  }

  /** Where a target is really dialled; undefined where that is not allowed. */
  resolve(host: string, port: number): Destination | undefined {
    const { kubeApiserver } = this.#options;
    if (this.#isCluster(host)) {
      return kubeApiserver && { host: kubeApiserver.host, port: kubeApiserver.port ?? port };
    }
    const name = host.toLowerCase().replace(/\.$/, '');
    if (name === kubeApiserver?.host && (kubeApiserver.port ?? port) === port) {
      return { host, port };
    }
    return this.#rules.some((rule) => rule(name, port)) ? { host, port } : undefined;
  }

  /** What is said of a target that `resolve` knows no destination for. */
  refusal(host: string, port: number): TunnelError {
    if (this.#isCluster(host)) return withheldApiserver(host, port);
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

function parseRule(pattern: string): DestinationMatch {
  try {
    return parseDestinationPattern(pattern);
  } catch (thrown) {
    throw new RangeError(`"${pattern}" ${describeError(thrown)}`, { cause: thrown });
  }
}
