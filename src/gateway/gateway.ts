import { AccessError } from '../access/access-error.ts';
import type { Action } from '../access/action.ts';
import type { Authorizer } from '../access/authorizer.ts';
import { kubeRequestInfo } from '../access/kube-request-info.ts';
import type { Authentication, RequestAuthenticator } from '../access/request-authenticator.ts';
import { anonymousSubject, type Subject } from '../access/subject.ts';
import type { Clock } from '../base/clock.ts';
import type {
  HeaderList,
  HttpExchangeOptions,
  HttpServer,
} from '../http-exchange/http-exchange.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { type Caller, callerProblem, isTraceparent } from '../tunnel/stream-request.ts';
import type { AdmittedRequest, IncomingRequest } from './admitted-request.ts';
import type { AuditHook } from './audit.ts';
import { exchangeError } from './exchange-error.ts';
import type { ExposedService, ExposedServices } from './exposed-services.ts';
import { GatewayError } from './gateway-error.ts';
import { isLongRunning } from './long-running.ts';
import {
  readRequestHeaders,
  type ReadHeaders,
  withImpersonation,
  withoutAuthorization,
} from './request-headers.ts';
import { type RequestGrants, RequestRecord } from './request-record.ts';
import { readRequestUrl, type RequestRoute } from './request-url.ts';
import type { UserLimits } from './user-limits.ts';

/** The most bytes of a request's head. OPEN carries it in 64 KiB, beside the caller. */
const maxHeadBytes = 48 * 1024;

export interface GatewayParts {
  readonly authenticator: RequestAuthenticator;
  readonly authorizer: Authorizer;
  /** Ends long-running requests whose user loses the right to them (default: nothing does). */
  readonly grants?: RequestGrants | undefined;
  /** The Services that clients reach by path, at each request. */
  readonly exposedServices: () => ExposedServices;
  /** The domain of `https://<cluster>.<domain>/`, in lower case (default: only the path form). */
  readonly domain?: string | undefined;
  /** Whether a list of clusters has a cluster (default: no list exists). */
  readonly isKnownCluster?: ((cluster: string) => boolean | undefined) | undefined;
  readonly limits: UserLimits;
  readonly audit: AuditHook;
  readonly clock: Clock;
}

/**
 * Decides about requests: URL, header fields, authentication, authorization, the user's limits. It
 * knows no socket, so that it serves on any runtime.
 */
export class Gateway {
  readonly #parts: GatewayParts;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /** Starts the record of a request, which its server ends in every case. */
  begin({ method, client }: Pick<IncomingRequest, 'method' | 'client'>): RequestRecord {
    const { clock, audit } = this.#parts;
    return new RequestRecord({ method, address: client.address, clock, audit });
  }

  /**
   * Admits a request. It may wait for an authenticator, an authorizer, and for requests of the same
   * user to end.
   *
   * @throws GatewayError the answer to the client
   */
  async admit(
    request: IncomingRequest,
    record: RequestRecord,
    signal: AbortSignal,
  ): Promise<AdmittedRequest> {
    const { method, target, client, hasBody } = request;
    if (method === 'TRACE' || method === 'CONNECT') {
      throw new GatewayError('MethodNotAllowed', `the method ${method} is not served`, {
        hop: 'client',
      });
    }
    const headers = readRequestHeaders(request.headers, client);
    checkSize(method, target, headers.forwarded);
    const route = readRequestUrl(target, headers.host ?? client.host, this.#parts.domain);
    const action = actionOf(method, route);
    record.routed(route.cluster, action, isLongRunning(action, route.path, headers.upgrade));
    const exposed = this.#exposedBy(route);
    const authentication = await this.#authenticate(request, headers, { route, signal });
    const subject = authentication.subject ?? anonymousSubject;
    record.authenticated(authentication);
    await this.#authorize(subject, { route, action, signal });
    const user = userKey(authentication.subject, headers.authorization[0], client.address);
    const limited = { user, cluster: route.cluster, isLongRunning: record.isLongRunning };
    const release = this.#parts.limits.acquire(limited, signal);
    record.holds(release instanceof Promise ? await release : release);
    const { grants } = this.#parts;
    if (grants !== undefined && record.isLongRunning) {
      record.isGrantedBy(grants, { subject, cluster: route.cluster, action });
    }
    const { path } = route;
    const host = headers.host ?? client.host ?? serverHost(route.server);
    if (headers.host === undefined) headers.forwarded.unshift(['Host', host]);
    const { forwarded, credentials } = forwardedHeaders(headers, authentication, exposed);
    return {
      ...{ route, host, upgrade: headers.upgrade },
      exchange: {
        cluster: route.cluster,
        server: route.server,
        credentials,
        head: { method, path, headers: forwarded },
        hasBody,
        caller: callerOf(authentication.subject),
        trace: traceOf(forwarded),
      },
    };
  }

  /** The entries that expose the Service of a route; undefined for the API server. */
  #exposedBy({ cluster, server }: RequestRoute): readonly ExposedService[] | undefined {
    if (server.kind !== 'service') return undefined;
    const entries = this.#parts.exposedServices().find({ cluster, ...server });
    if (entries.length > 0) return entries;
    const { namespace, name } = server;
    throw new GatewayError(
      'Forbidden',
      `service ${namespace}/${name} is not in the exposed services allowlist`,
    );
  }

  async #authenticate(
    { headers, certificate, client }: IncomingRequest,
    { authorization }: ReadHeaders,
    { route, signal }: { readonly route: RequestRoute; readonly signal: AbortSignal },
  ): Promise<Authentication> {
    const isService = route.server.kind === 'service';
    const unknown: Authentication = { kind: 'forward', subject: undefined };
    if (isService && authorization.length === 0 && certificate === undefined) return unknown;
    const credentials = {
      // Impersonation is a matter of API servers. It must not spare a token for a Service its check.
      headerNames: isService ? [] : namesOf(headers),
      authorization,
      certificate,
      address: client.address,
    };
    try {
      return await this.#parts.authenticator.authenticate(credentials, route.cluster, signal);
    } catch (thrown) {
      if (!(thrown instanceof AccessError)) throw thrown;
      // A Service has users of its own.
      if (isService && thrown.code === 'unauthenticated') return unknown;
      const { cluster } = route;
      const unreachable = tunnelErrorIn(thrown);
      // Nothing is known about the token if the cluster that must review it was not reached.
      if (unreachable !== undefined && unreachable.code !== 'forbidden') {
        const isKnownCluster = this.#parts.isKnownCluster?.(cluster);
        throw exchangeError(unreachable, { cluster, isKnownCluster });
      }
      throw new GatewayError('Unauthorized', thrown.message, { cause: thrown });
    }
  }

  async #authorize(
    subject: Subject,
    {
      route,
      action,
      signal,
    }: { readonly route: RequestRoute; readonly action: Action; readonly signal: AbortSignal },
  ): Promise<void> {
    const { cluster } = route;
    try {
      const verdict = await this.#parts.authorizer.authorize(subject, cluster, action, signal);
      if (verdict.allowed) return;
      throw new GatewayError('Forbidden', forbiddenText(subject, action, cluster, verdict.reason));
    } catch (thrown) {
      if (!(thrown instanceof AccessError)) throw thrown;
      throw new GatewayError(
        'ServiceUnavailable',
        `it cannot be decided now whether this is allowed: ${thrown.message}`,
        { cause: thrown, retryAfterSeconds: 1 },
      );
    }
  }
}

/** The failure of the tunnel among the causes of an error. */
function tunnelErrorIn(error: Error): TunnelError | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof TunnelError) return at;
  }
  return undefined;
}

function actionOf(method: string, { server, path }: RequestRoute): Action {
  if (server.kind === 'service') return server;
  try {
    return kubeRequestInfo(method, path);
  } catch (thrown) {
    if (!(thrown instanceof AccessError)) throw thrown;
    throw new GatewayError('BadRequest', thrown.message, { hop: 'client', cause: thrown });
  }
}

function forwardedHeaders(
  { forwarded }: ReadHeaders,
  authentication: Authentication,
  exposed: readonly ExposedService[] | undefined,
): { readonly forwarded: HeaderList } & Pick<HttpExchangeOptions, 'credentials'> {
  if (authentication.kind === 'forward') return { forwarded, credentials: 'caller' };
  if (exposed === undefined) {
    const { user, groups } = authentication;
    return { forwarded: withImpersonation(forwarded, user, groups), credentials: 'agent' };
  }
  // The token is known to the hub cluster or an OIDC provider, and the Service could use it there.
  const passes = exposed.some(({ hubTokens }) => hubTokens === true);
  return {
    forwarded: passes ? forwarded : withoutAuthorization(forwarded),
    credentials: 'caller',
  };
}

function forbiddenText(subject: Subject, action: Action, cluster: string, reason: string): string {
  const user = `User "${subject.user}"`;
  const where = `cluster "${cluster}"`;
  switch (action.kind) {
    case 'kube': {
      const { verb, group, namespace, name, subresource } = action;
      const resource = action.resource + (subresource === '' ? '' : `/${subresource}`);
      const object = name === '' ? resource : `${resource} "${name}"`;
      const inNamespace = namespace === '' ? '' : ` in the namespace "${namespace}"`;
      return `${object} is forbidden: ${user} cannot ${verb} resource "${resource}" in API group "${group}"${inNamespace} of ${where}: ${reason}`;
    }
    case 'kube-path':
      return `forbidden: ${user} cannot ${action.verb} path "${action.path}" of ${where}: ${reason}`;
    case 'service':
      return `forbidden: ${user} cannot reach service ${action.namespace}/${action.name} port ${action.port} of ${where}: ${reason}`;
    default:
      return `forbidden: ${user} cannot do this in ${where}: ${reason}`;
  }
}

/** The Host of a request that has none. */
function serverHost(server: HttpServer): string {
  return server.kind === 'service'
    ? `${server.name}.${server.namespace}.svc`
    : 'kubernetes.default.svc';
}

function checkSize(method: string, target: string, headers: HeaderList): void {
  let bytes = method.length + target.length;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  if (bytes <= maxHeadBytes) return;
  throw new GatewayError(
    'RequestHeaderFieldsTooLarge',
    `the URL and the header fields have ${bytes} bytes, at most ${maxHeadBytes} are forwarded`,
    { hop: 'client' },
  );
}

/** The key of a client's limits. A credential that was not checked is a user of its own. */
function userKey(
  subject: Subject | undefined,
  authorization: string | undefined,
  address: string,
): string {
  if (subject !== undefined) return `${subject.source}:${subject.user}`;
  return authorization === undefined ? `address:${address}` : `credential:${authorization}`;
}

/** The caller for the agent's log. One with more groups than OPEN may carry has only its name. */
function callerOf(subject: Subject | undefined): Caller | undefined {
  if (subject === undefined) return undefined;
  const { user, groups } = subject;
  if (callerProblem({ user, groups }) === undefined) return { user, groups };
  return callerProblem({ user }) === undefined ? { user } : undefined;
}

function traceOf(headers: HeaderList): string | undefined {
  for (const [name, value] of headers) {
    if (name.length === 11 && name.toLowerCase() === 'traceparent' && isTraceparent(value)) {
      return value;
    }
  }
  return undefined;
}

function* namesOf(headers: HeaderList): Iterable<string> {
  for (const [name] of headers) yield name;
}
