import type { Authentication, CertificateIdentity } from '../access/request-authenticator.ts';
import type { Subject } from '../access/subject.ts';
import type {
  HeaderList,
  HttpExchangeOptions,
  HttpServer,
} from '../http-exchange/http-exchange.ts';
import { isNamed } from '../http-exchange/upgrade.ts';
import { type Caller, callerProblem, isTraceparent } from '../tunnel/stream-request.ts';
import type { ExposedService } from './exposed-services.ts';
import {
  type ForwardedClient,
  type ReadHeaders,
  withImpersonation,
  withoutAuthorization,
} from './request-headers.ts';
import type { RequestRoute } from './request-url.ts';

/** A request as a server of any kind received it. */
export interface IncomingRequest {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly client: ForwardedClient;
  readonly hasBody: boolean;
  /** The certificate that the listener has verified (default: none). */
  readonly certificate?: CertificateIdentity | undefined;
}

/** A request that may be forwarded. */
export interface AdmittedRequest {
  readonly exchange: Omit<HttpExchangeOptions, 'signal'>;
  readonly route: RequestRoute;
  /** The Host header that the server receives. */
  readonly host: string;
  /** The protocol that the client asks for. It sends nothing before the answer. */
  readonly upgrade: string | undefined;
}

/** A request whose head was read. */
interface ReadRequest {
  readonly request: IncomingRequest;
  readonly headers: ReadHeaders;
  readonly route: RequestRoute;
}

/**
 * The request as the server gets it.
 *
 * @param exposed the entries that expose the Service; undefined: it is for the API server
 */
export function admittedRequest(
  { request, headers, route }: ReadRequest,
  authentication: Authentication,
  exposed: readonly ExposedService[] | undefined,
): AdmittedRequest {
  const { method, client, hasBody } = request;
  const { cluster, server, path } = route;
  const host = headers.host ?? client.host ?? serverHost(server);
  if (headers.host === undefined) headers.forwarded.unshift(['Host', host]);
  const { forwarded, credentials } = forwardedHeaders(headers, authentication, exposed);
  return {
    ...{ route, host, upgrade: headers.upgrade },
    exchange: {
      cluster,
      server,
      credentials,
      head: { method, path, headers: forwarded },
      hasBody,
      caller: callerOf(authentication.subject),
      trace: traceOf(forwarded),
    },
  };
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

/** The Host of a request that has none. */
function serverHost(server: HttpServer): string {
  return server.kind === 'service'
    ? `${server.name}.${server.namespace}.svc`
    : 'kubernetes.default.svc';
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
    if (isNamed(name, 'traceparent') && isTraceparent(value)) return value;
  }
  return undefined;
}
