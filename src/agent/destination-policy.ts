import { BlockList, isIP } from 'node:net';
import { isDnsLabel } from '../base/enrolment-token-subject.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import { forbiddenTarget, otherNamespace } from './dial-error.ts';

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
  /** Where the kube-apiserver is; without a port, the one that was asked for is used. */
  readonly kubeApiserver: { readonly host: string; readonly port: number | undefined };
  /** `host:port`, `*.suffix:port`, `host:*`, `CIDR:port`, with brackets around IPv6. */
  readonly allow: readonly string[];
}

type Rule = (host: string, port: number) => boolean;

/**
 * What this agent dials for the hub: the cluster's own kube-apiserver, and what its operator lists. The hub cannot widen
 * it: nothing that comes over the tunnel changes the list.
 */
export class DestinationPolicy {
  readonly #options: DestinationPolicyOptions;
  readonly #rules: readonly Rule[];

  /** @throws RangeError for a pattern that is none, naming it */
  constructor(options: DestinationPolicyOptions) {
    this.#options = options;
    this.#rules = options.allow.map(parseRule);
  }

  /** Where a target is really dialled; undefined where that is not allowed. */
  resolve(host: string, port: number): Destination | undefined {
    const { kubeApiserver } = this.#options;
    if (this.#isCluster(host)) {
      return { host: kubeApiserver.host, port: kubeApiserver.port ?? port };
    }
    const name = host.toLowerCase().replace(/\.$/, '');
    if (name === kubeApiserver.host && (kubeApiserver.port ?? port) === port) return { host, port };
    return this.#rules.some((rule) => rule(name, port)) ? { host, port } : undefined;
  }

  /** What is said of a target that `resolve` knows no destination for. */
  refusal(host: string, port: number): TunnelError {
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

function parseRule(pattern: string): Rule {
  const match = /^(?:\[([^\]]+)\](\/\d+)?|([^:]+)):(\*|\d{1,5})$/.exec(pattern);
  const portText = match?.[4];
  const hostText = match?.[1] === undefined ? match?.[3] : match[1] + (match[2] ?? '');
  if (hostText === undefined || portText === undefined || Number(portText) > 65_535) {
    throw new RangeError(
      `"${pattern}" is no destination: write host:port, *.suffix:port, host:* or CIDR:port`,
    );
  }
  const hosts = parseHost(hostText.toLowerCase(), pattern);
  if (portText === '*') return (host) => hosts(host);
  const wanted = Number(portText);
  return (host, port) => port === wanted && hosts(host);
}

function parseHost(text: string, pattern: string): (host: string) => boolean {
  if (text === '*') return () => true;
  if (text.startsWith('*.')) return (host) => host.endsWith(text.slice(1));
  const [network, prefix] = text.split('/');
  const family = isIP(network ?? '');
  if (prefix === undefined) {
    return (host) => host === text;
  }
  const bits = Number(prefix);
  if (family === 0 || !Number.isInteger(bits) || bits > (family === 4 ? 32 : 128)) {
    throw new RangeError(`"${pattern}" holds a malformed CIDR`);
  }
  const list = new BlockList();
  list.addSubnet(network!, bits, family === 4 ? 'ipv4' : 'ipv6');
  return (host) => {
    const of = isIP(host);
    return of !== 0 && list.check(host, of === 4 ? 'ipv4' : 'ipv6');
  };
}
