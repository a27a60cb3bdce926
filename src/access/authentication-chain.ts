import { catchError, type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import { AccessError } from './access-error.ts';
import { subjectOfCertificate } from './client-certificate.ts';
import { nameOutsideHub } from './hub-user.ts';
import type {
  Authentication,
  RequestAuthenticator,
  RequestCredentials,
} from './request-authenticator.ts';
import type { Subject } from './subject.ts';
import type { TokenAuthenticator } from './token-authenticator.ts';

/** The providers that differ between clusters. */
export interface ClusterProviders {
  /** Whether the cluster accepts tokens of the hub cluster, if the chain does. */
  readonly acceptsHubTokens: boolean;
  /** Tokens of an OIDC issuer; undefined: not accepted. */
  readonly oidc: TokenAuthenticator | undefined;
}

/** A group that every impersonated user of a foreign issuer is in. */
const allAuthenticated = 'system:authenticated';

export interface AuthenticationChainOptions {
  /** Asks the managed cluster. It is asked only if another provider is enabled, as in upstream. */
  readonly managed: TokenAuthenticator;
  /** Tokens of the hub cluster; undefined: not accepted. */
  readonly hub?: TokenAuthenticator | undefined;
  /** Tokens of an OIDC issuer; undefined: not accepted. */
  readonly oidc?: TokenAuthenticator | undefined;
  /**
   * The providers of a cluster, instead of `oidc` (default: all clusters have the same). It throws
   * AccessError `unavailable` while they are not known. A runtime that has to ask for them returns a
   * promise.
   */
  readonly providersOf?: ((cluster: string) => MaybePromise<ClusterProviders>) | undefined;
  /** Accepts client certificates of requests without a token (default: false). */
  readonly acceptsCertificates?: boolean;
  /**
   * Asks the managed cluster for the subject of a request that the chain forwards unchecked, because
   * a policy needs it (default: false, as in upstream).
   */
  readonly identifiesForwarded?: boolean;
}

interface Provider {
  /** In the text of an error that stops the chain. */
  readonly name: string;
  /** In the text of a refusal. */
  readonly target: string;
  readonly authenticator: TokenAuthenticator;
  readonly accept: (subject: Subject) => Authentication;
}

/**
 * Authenticates requests to a managed cluster's kube-apiserver. The order and the texts are those
 * of upstream's service-proxy: the client's own impersonation, a token of the managed cluster, a
 * token of the hub cluster, a token of the OIDC issuer. A client certificate comes last and only
 * without a token, because a request has one identity. An error of a provider stops the chain.
 */
export class AuthenticationChain implements RequestAuthenticator {
  readonly #options: AuthenticationChainOptions;
  /** Of clusters without providers of their own. */
  readonly #providers: readonly Provider[];

  constructor(options: AuthenticationChainOptions) {
    this.#options = options;
    this.#providers = providersOf(options);
  }

  authenticate(
    credentials: RequestCredentials,
    cluster: string,
    signal: AbortSignal,
  ): MaybePromise<Authentication> {
    const { acceptsCertificates = false } = this.#options;
    const { certificate, authorization, address } = credentials;
    if (hasImpersonation(credentials.headerNames)) {
      return this.#forward(credentials, cluster, signal);
    }
    if (acceptsCertificates && certificate !== undefined && authorization.length === 0) {
      return impersonateForeign(subjectOfCertificate(certificate));
    }
    return whenKnown(this.#providersOf(cluster), (providers) => {
      if (providers.length === 0) return this.#forward(credentials, cluster, signal);
      const token = tokenOf(authorization);
      if (token === undefined) throw refusal(providers);
      return askInOrder(providers, 0, (authenticator) =>
        authenticator.authenticate(token, cluster, signal, address),
      );
    });
  }

  /** The caller's headers go on unchanged, and the managed cluster decides. */
  #forward(
    { authorization, address }: RequestCredentials,
    cluster: string,
    signal: AbortSignal,
  ): MaybePromise<Authentication> {
    const { identifiesForwarded = false, managed } = this.#options;
    const token = identifiesForwarded ? tokenOf(authorization) : undefined;
    if (token === undefined) return { kind: 'forward', subject: undefined };
    const subject = askProvider('managed cluster', () =>
      managed.authenticate(token, cluster, signal, address),
    );
    return whenKnown(subject, (found) => ({ kind: 'forward', subject: found }));
  }

  #providersOf(cluster: string): MaybePromise<readonly Provider[]> {
    const { managed, hub, providersOf: own } = this.#options;
    if (own === undefined) return this.#providers;
    return whenKnown(own(cluster), ({ acceptsHubTokens, oidc }) =>
      providersOf({ managed, hub: acceptsHubTokens ? hub : undefined, oidc }),
    );
  }
}

type Ask = (authenticator: TokenAuthenticator) => MaybePromise<Subject | undefined>;

/** The answer of the first provider, from index `at` on, that knows the token. */
function askInOrder(
  providers: readonly Provider[],
  at: number,
  ask: Ask,
): MaybePromise<Authentication> {
  const provider = providers[at];
  if (provider === undefined) throw refusal(providers);
  const { name, authenticator, accept } = provider;
  return whenKnown(
    askProvider(name, () => ask(authenticator)),
    (subject) => (subject === undefined ? askInOrder(providers, at + 1, ask) : accept(subject)),
  );
}

/** Names the provider in its errors. */
function askProvider<T>(provider: string, ask: () => MaybePromise<T>): MaybePromise<T> {
  return catchError(ask, (thrown) => {
    if (!(thrown instanceof AccessError)) throw thrown;
    const message = `${provider} authentication failed: ${thrown.message}`;
    throw new AccessError(thrown.code, message, { cause: thrown });
  });
}

/** The text names the providers that were asked, in upstream's words. */
function refusal(providers: readonly Provider[]): AccessError {
  const targets = providers.map(({ target }) => target);
  const [first, second] = targets;
  if (targets.length === 2) {
    return unauthenticated(`token is neither valid for ${first} nor ${second}`);
  }
  const others = targets.slice(0, -1).join(', ');
  return unauthenticated(`token is not valid for ${others}, or ${targets.at(-1)}`);
}

function providersOf({
  managed,
  hub,
  oidc,
}: Pick<AuthenticationChainOptions, 'managed' | 'hub' | 'oidc'>): readonly Provider[] {
  const others: Provider[] = [];
  if (hub !== undefined) {
    others.push({
      name: 'hub',
      target: 'hub cluster',
      authenticator: hub,
      accept: impersonateHubUser,
    });
  }
  if (oidc !== undefined) {
    others.push({
      name: 'oidc',
      target: 'the configured OIDC issuer',
      authenticator: oidc,
      accept: impersonateForeign,
    });
  }
  if (others.length === 0) return [];
  const first: Provider = {
    name: 'managed cluster',
    target: 'managed cluster',
    authenticator: managed,
    accept: (subject) => ({ kind: 'forward', subject }),
  };
  return [first, ...others];
}

/** Groups stay as the hub reports them, and UID and extra are dropped, as in upstream. */
function impersonateHubUser(subject: Subject): Authentication {
  return { kind: 'impersonate', subject, user: nameOutsideHub(subject), groups: subject.groups };
}

function impersonateForeign(subject: Subject): Authentication {
  const { user, groups } = subject;
  const all = groups.includes(allAuthenticated) ? groups : [...groups, allAuthenticated];
  return { kind: 'impersonate', subject, user, groups: all };
}

/** Any header of this prefix counts, also an empty or an unknown one. */
function hasImpersonation(headerNames: Iterable<string>): boolean {
  for (const name of headerNames) {
    if (name.slice(0, 'impersonate-'.length).toLowerCase() === 'impersonate-') return true;
  }
  return false;
}

/** Undefined: there is no token, or more than one. */
function tokenOf(authorization: readonly string[]): string | undefined {
  if (authorization.length !== 1) return undefined;
  return /^Bearer +(\S+)$/i.exec(authorization[0]!.trim())?.[1];
}

function unauthenticated(text: string): AccessError {
  return new AccessError('unauthenticated', `authentication failed: ${text}`);
}
