import { AccessError } from '../access/access-error.ts';
import type { Action } from '../access/action.ts';
import type { Authorizer } from '../access/authorizer.ts';
import { kubeRequestInfo } from '../access/kube-request-info.ts';
import type { Authentication, RequestAuthenticator } from '../access/request-authenticator.ts';
import { anonymousSubject, type Subject } from '../access/subject.ts';
import type { Clock } from '../base/clock.ts';
import { addressGroup } from '../base/net/address-group.ts';
import { catchError, type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import { exchangeLimits } from '../http-exchange/exchange-limits.ts';
import type { HeaderList } from '../http-exchange/http-exchange.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { type AdmittedRequest, admittedRequest, type IncomingRequest } from './admitted-request.ts';
import type { AuditHook } from './audit.ts';
import { exchangeError } from './exchange-error.ts';
import type { ExposedService, ExposedServices } from './exposed-services.ts';
import { forbiddenText } from './forbidden-text.ts';
import { GatewayError } from './gateway-error.ts';
import { isLongRunning } from './long-running.ts';
import { readRequestHeaders, type ReadHeaders } from './request-headers.ts';
import { type RequestGrants, RequestRecord } from './request-record.ts';
import { readRequestUrl, type RequestRoute } from './request-url.ts';
import type { Release, UserLimits } from './user-limits.ts';

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

/** A request, and what its head says. */
interface AskedRequest {
  readonly request: IncomingRequest;
  readonly headers: ReadHeaders;
  readonly route: RequestRoute;
  readonly action: Action;
  readonly record: RequestRecord;
  readonly signal: AbortSignal;
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
   * user to end. Otherwise, which is the case for most requests, the result is there at once.
   *
   * @throws GatewayError the answer to the client
   */
  admit(
    request: IncomingRequest,
    record: RequestRecord,
    signal: AbortSignal,
  ): MaybePromise<AdmittedRequest> {
    const { method, target, client } = request;
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
    const asked: AskedRequest = { request, headers, route, action, record, signal };
    const exposed = this.#exposedBy(route);
    return whenKnown(this.#authenticate(asked), (authentication) => {
      record.authenticated(authentication);
      const subject = authentication.subject ?? anonymousSubject;
      return whenKnown(this.#authorize(subject, asked), () =>
        whenKnown(this.#acquire(authentication, asked), (release) => {
          record.holds(release);
          this.#grant(subject, asked);
          return admittedRequest(asked, authentication, exposed);
        }),
      );
    });
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

  #authenticate(asked: AskedRequest): MaybePromise<Authentication> {
    const { request, headers, route, signal } = asked;
    const { certificate, client } = request;
    const { authorization } = headers;
    const isService = route.server.kind === 'service';
    if (isService && authorization.length === 0 && certificate === undefined) return unchecked;
    const credentials = {
      // Impersonation is a matter of API servers. It must not spare a token for a Service its check.
      headerNames: isService ? [] : namesOf(request.headers),
      authorization,
      certificate,
      // Many clients may share the address of a proxy.
      address: client.isTrustedProxy ? undefined : addressGroup(client.address),
    };
    return catchError(
      () => this.#parts.authenticator.authenticate(credentials, route.cluster, signal),
      (thrown) => this.#unauthenticated(thrown, route),
    );
  }

  /** Goes on without a user, or throws. */
  #unauthenticated(thrown: unknown, { cluster, server }: RequestRoute): Authentication {
    if (!(thrown instanceof AccessError)) throw thrown;
    // A Service has users of its own.
    if (server.kind === 'service' && thrown.code === 'unauthenticated') return unchecked;
    const unreachable = tunnelErrorIn(thrown);
    // Nothing is known about the token if the cluster that must review it was not reached.
    if (unreachable !== undefined && unreachable.code !== 'forbidden') {
      const isKnownCluster = this.#parts.isKnownCluster?.(cluster);
      throw exchangeError(unreachable, { cluster, isKnownCluster });
    }
    throw new GatewayError('Unauthorized', thrown.message, { cause: thrown });
  }

  #authorize(subject: Subject, { route, action, signal }: AskedRequest): MaybePromise<void> {
    const { cluster } = route;
    const verdict = catchError(
      () => this.#parts.authorizer.authorize(subject, cluster, action, signal),
      (thrown) => {
        if (!(thrown instanceof AccessError)) throw thrown;
        throw new GatewayError(
          'ServiceUnavailable',
          `it cannot be decided now whether this is allowed: ${thrown.message}`,
          { cause: thrown, retryAfterSeconds: 1 },
        );
      },
    );
    return whenKnown(verdict, (known) => {
      if (known.allowed) return;
      throw new GatewayError('Forbidden', forbiddenText(subject, action, cluster, known.reason));
    });
  }

  #acquire(
    { subject }: Authentication,
    { request, headers, route, record, signal }: AskedRequest,
  ): MaybePromise<Release> {
    const user = userKey(subject, headers.authorization[0], request.client.address);
    const { cluster } = route;
    return this.#parts.limits.acquire(
      { user, cluster, isLongRunning: record.isLongRunning },
      signal,
    );
  }

  #grant(subject: Subject, { route, action, record }: AskedRequest): void {
    const { grants } = this.#parts;
    if (grants === undefined || !record.isLongRunning) return;
    record.isGrantedBy(grants, { subject, cluster: route.cluster, action });
  }
}

/** The credentials of the request go on unchecked. */
const unchecked: Authentication = { kind: 'forward', subject: undefined };

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

function checkSize(method: string, target: string, headers: HeaderList): void {
  const { maxFields } = exchangeLimits;
  if (headers.length > maxFields) {
    throw tooLarge(`the request has ${headers.length} header fields, at most ${maxFields}`);
  }
  let bytes = method.length + target.length;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  if (bytes <= maxHeadBytes) return;
  throw tooLarge(`the URL and the header fields have ${bytes} bytes, at most ${maxHeadBytes}`);
}

function tooLarge(sentence: string): GatewayError {
  return new GatewayError('RequestHeaderFieldsTooLarge', `${sentence} are forwarded`, {
    hop: 'client',
  });
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

function* namesOf(headers: HeaderList): Iterable<string> {
  for (const [name] of headers) yield name;
}
