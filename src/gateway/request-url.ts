import { isClusterName, isDnsLabel } from '../base/names/cluster-name.ts';
import type { HttpServer } from '../http-exchange/http-exchange.ts';
import { GatewayError } from './gateway-error.ts';
import { kubePathProblem, rawTargetProblem } from './request-path.ts';

/** The cluster and server that a URL of the gateway names. */
export interface RequestRoute {
  readonly cluster: string;
  readonly server: HttpServer;
  /** The path and query for the server, byte for byte as the client sent them. */
  readonly path: string;
  /**
   * The part of the URL's path before the server's path: `/cluster1`. Empty for the API server in
   * the host form.
   */
  readonly prefix: string;
}

/**
 * Reads the URL of a request in one of two forms: `/<cluster>/<path>`, and
 * `https://<cluster>.<domain>/<path>`. The path is that of the cluster's API server, unless it is
 * `/api/v1/namespaces/<namespace>/services/[<scheme>:]<name>:<port>/proxy-service/<path>`, which
 * leads to a Service. The query takes no part in this.
 *
 * @param target the request target as it was received
 * @param host the Host header, or `:authority`
 * @param domain the domain of the host form; undefined: only the path form exists
 * @throws GatewayError `BadRequest`: the URL has no meaning here, or several; `NotFound`: its first
 *   segment is not the name of a cluster
 */
export function readRequestUrl(
  target: string,
  host: string | undefined,
  domain: string | undefined,
): RequestRoute {
  const problem = rawTargetProblem(target);
  if (problem !== undefined) throw badUrl(problem);
  const named = clusterOfHost(host, domain);
  if (named !== undefined) return routeIn(named, '', target);
  const slash = target.indexOf('/', 1);
  const question = target.indexOf('?');
  if (slash < 0 || (question >= 0 && question < slash)) {
    throw badUrl(
      'the path must be /CLUSTER/ and a path of its API server, as in /cluster1/version',
    );
  }
  const cluster = target.slice(1, slash);
  if (!isClusterName(cluster)) {
    throw new GatewayError(
      'NotFound',
      'the first segment of the path is not the name of a cluster',
      {
        hop: 'client',
      },
    );
  }
  return routeIn(cluster, `/${cluster}`, target.slice(slash));
}

/** The cluster in `<cluster>.<domain>`. Undefined when the host is not below the domain. */
function clusterOfHost(host: string | undefined, domain: string | undefined): string | undefined {
  if (domain === undefined || host === undefined) return undefined;
  const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (!name.endsWith(`.${domain}`)) return undefined;
  const cluster = name.slice(0, -domain.length - 1);
  if (isClusterName(cluster)) return cluster;
  throw new GatewayError('NotFound', `the host must be CLUSTER.${domain}`, { hop: 'client' });
}

/** @param path begins with a slash */
function routeIn(cluster: string, prefix: string, path: string): RequestRoute {
  const service = readServicePath(path);
  if (service !== undefined) {
    return { cluster, server: service.server, path: service.path, prefix: prefix + service.prefix };
  }
  const problem = kubePathProblem(path);
  if (problem !== undefined) throw badUrl(problem);
  return { cluster, server: { kind: 'kube-apiserver' }, path, prefix };
}

const servicePath =
  /^(\/api\/v1\/namespaces\/([^/?]*)\/services\/([^/?]*)\/proxy-service)(\/[^]*)$/;

interface ServicePath {
  readonly server: HttpServer & { readonly kind: 'service' };
  readonly prefix: string;
  readonly path: string;
}

function readServicePath(path: string): ServicePath | undefined {
  // Almost every request is for the API server.
  if (!path.includes('/proxy-service/')) return undefined;
  const [, prefix, namespace, text, rest] = servicePath.exec(path) ?? [];
  if (prefix === undefined) return undefined;
  return {
    prefix,
    path: rest!,
    server: { kind: 'service', namespace: label(namespace!, 'namespace'), ...readService(text!) },
  };
}

/** Reads `[<scheme>:]<name>:<port>`. Some clients encode the colons. */
function readService(text: string): { scheme: 'http' | 'https'; name: string; port: string } {
  const parts = text.replaceAll(/%3a/gi, ':').split(':');
  const [scheme = '', name = '', port = ''] = parts.length === 2 ? ['https', ...parts] : parts;
  if (parts.length < 2 || parts.length > 3 || (scheme !== 'http' && scheme !== 'https')) {
    throw badUrl('a Service must be NAME:PORT, http:NAME:PORT or https:NAME:PORT');
  }
  if (!isPort(port)) {
    throw badUrl('the port of a Service must be a number from 1 to 65535 or the name of a port');
  }
  return { scheme, name: label(name, 'Service'), port };
}

/** A number without leading zeros, or an IANA service name (RFC 6335, section 5.1). */
function isPort(text: string): boolean {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text) <= 65_535;
  return /^(?=.*[a-z])(?!.*--)[a-z\d](?:[a-z\d-]{0,13}[a-z\d])?$/.test(text);
}

function label(text: string, what: string): string {
  if (isDnsLabel(text)) return text;
  throw badUrl(`the name of the ${what} must have lower case letters, digits and hyphens only`);
}

function badUrl(sentence: string): GatewayError {
  return new GatewayError('BadRequest', `the URL is not valid: ${sentence}`, { hop: 'client' });
}
