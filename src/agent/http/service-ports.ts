import type { Clock } from '../../base/clock.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { HttpRequest, HttpServer } from '../../tunnel/stream-request.ts';
import type { ConnectionPool } from './connection-pool.ts';
import type { HttpServers } from './http-servers.ts';
import { fetchJson } from './fetch-json.ts';
import type { OwnCredentials } from './own-credentials.ts';

/** How long the answer for a name is used, in milliseconds. */
const keepMs = 30_000;
const maxKept = 1_000;
/** How long a lookup may take, in milliseconds. */
const lookupTimeoutMs = 5_000;

/** The number that a port's text is; undefined: it is the name of a port. */
export function portNumber(port: string): number | undefined {
  if (!/^\d{1,5}$/.test(port)) return undefined;
  const number = Number(port);
  if (number >= 1 && number <= 65_535) return number;
  throw new TunnelError('forbidden_target', `no Service has the port ${port}`);
}

export interface ServicePortsOptions {
  readonly servers: HttpServers;
  readonly credentials: OwnCredentials;
  readonly pool: ConnectionPool;
  readonly clock: Clock;
}

const portName = /^[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?$/;

/** Named ports of Services, which the agent asks its kube-apiserver for. */
export class ServicePorts {
  readonly #options: ServicePortsOptions;
  readonly #known = new Map<string, { readonly port: number; readonly untilMs: number }>();

  constructor(options: ServicePortsOptions) {
    this.#options = options;
  }

  /**
   * The number of the port that a request to a Service names.
   *
   * @throws TunnelError `dns` there is no such Service or port; `forbidden_target` the operator's
   *   list does not allow any port of it, whether it exists or not; any other code says why the
   *   kube-apiserver does not tell
   */
  async lookup(request: HttpRequest, signal: AbortSignal): Promise<number> {
    const { server } = request.target;
    if (server.kind !== 'service') throw new TunnelError('internal', 'only Services have ports');
    const { namespace, name, port } = server;
    if (!portName.test(port)) {
      throw new TunnelError('forbidden_target', `no Service has the port ${port}`);
    }
    this.#options.servers.checkService(server, request.caller?.user);
    const key = `${namespace}/${name}:${port}`;
    const nowMs = this.#options.clock.now();
    const known = this.#known.get(key);
    if (known !== undefined && known.untilMs > nowMs) return known.port;
    const number = numberIn(await this.#read(request, server, signal), server);
    this.#known.delete(key);
    this.#known.set(key, { port: number, untilMs: nowMs + keepMs });
    const [oldest] = this.#known.keys();
    if (this.#known.size > maxKept) this.#known.delete(oldest!);
    return number;
  }

  async #read(
    request: HttpRequest,
    { namespace, name }: Extract<HttpServer, { kind: 'service' }>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { servers, credentials, pool, clock } = this.#options;
    const server = { kind: 'kube-apiserver' } as const;
    const own: HttpRequest = { ...request, target: { ...request.target, server } };
    const authorization = await credentials.read();
    const path = `/api/v1/namespaces/${namespace}/services/${name}`;
    const { status, body } = await fetchJson(
      { servers, pool, clock, endpoint: servers.endpointOf(own, 0), timeoutMs: lookupTimeoutMs },
      { method: 'GET', path, headers: [['Accept', 'application/json']] },
      authorization,
      signal,
    );
    if (status === 200) return body;
    if (status === 404) throw noSuchPort(`${namespace}/${name}`, 'the Service');
    const sentence = `the kube-apiserver answers ${status} to the agent's request for the Service ${namespace}/${name}`;
    throw new TunnelError('dial_failed', sentence);
  }
}

function numberIn(body: unknown, server: Extract<HttpServer, { kind: 'service' }>): number {
  const { spec } = body as { readonly spec?: { readonly ports?: unknown } };
  const ports = Array.isArray(spec?.ports) ? (spec.ports as unknown[]) : [];
  for (const entry of ports) {
    const { name, port } = entry as { readonly name?: unknown; readonly port?: unknown };
    if (name === server.port && typeof port === 'number' && port > 0 && port < 65_536) return port;
  }
  throw noSuchPort(`${server.namespace}/${server.name}`, `its port ${server.port}`);
}

function noSuchPort(service: string, what: string): TunnelError {
  return new TunnelError('dns', `${what} of ${service} does not exist`);
}
