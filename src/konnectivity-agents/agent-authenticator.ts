import { clusterOfSubject } from '../base/names/agent-subject.ts';
import type { CertificateSubject } from '../konnectivity/certificate-subject.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { KonnectivityAgentsOptions, ServiceAccountOptions } from './options.ts';
import type { ReviewLimit } from './review-limit.ts';
import { StandardAgentError } from './standard-agent-error.ts';

/** The credentials of a call. */
export interface AgentCredentials {
  /** Of the client certificate, which the listener has verified. */
  readonly subject: CertificateSubject | undefined;
  /** The values of the metadata `authorization`. */
  readonly authorization: readonly string[];
  /** The agent's address without its port; with IPv6 its /64. */
  readonly address: string;
}

/** What a credential proves. The agent id and the identifiers prove nothing. */
export interface AgentIdentity {
  readonly cluster: string;
  /** The credential is a registration with the hub cluster, which can revoke it. */
  readonly registered?: true;
}

/**
 * Finds the cluster of an agent by its credential.
 *
 * @throws StandardAgentError `unauthenticated`, `authentication_unavailable`
 */
export type AuthenticateAgent = (
  credentials: AgentCredentials,
) => AgentIdentity | Promise<AgentIdentity>;

/** The answer of an API server about a token, as TokenReview's status says it. */
export interface ReviewedToken {
  readonly authenticated: boolean;
  readonly username: string;
  readonly error: string;
}

/** Asks the API server about a token for an audience. @throws Error it does not answer */
export type ReviewToken = (token: string, audience: string) => Promise<ReviewedToken>;

/** Verifies tokens of agents. */
export interface AgentReviewers {
  /** Needed with `KonnectivityAgentsOptions.serviceAccount`. */
  readonly reviewToken?: ReviewToken | undefined;
  /**
   * Verifies a token that names its cluster. Needed if neither a client CA nor a ServiceAccount is
   * given. It throws StandardAgentError.
   */
  readonly clusterOfToken?:
    | ((token: string, address: string) => Promise<AgentIdentity>)
    | undefined;
}

/**
 * Chooses how agents are authenticated, as the options say.
 *
 * @throws KonnectivityError `invalid_options` no credential would be asked for
 */
export function authenticatorOf(
  { tls, cluster, serviceAccount }: KonnectivityAgentsOptions,
  { reviewToken, clusterOfToken }: AgentReviewers,
  limit: ReviewLimit,
): AuthenticateAgent {
  if (tls.clientCaFile !== undefined) {
    return cluster === undefined ? certificateOfCluster : certificateOfOneCluster(cluster);
  }
  if (serviceAccount !== undefined && cluster !== undefined && reviewToken !== undefined) {
    return serviceAccountOfOneCluster(cluster, serviceAccount, reviewToken, limit);
  }
  if (serviceAccount === undefined && clusterOfToken !== undefined) {
    return tokenOfCluster(clusterOfToken, limit);
  }
  throw new KonnectivityError(
    'invalid_options',
    'standard agents would need no credential; give a client CA, or a ServiceAccount of one cluster',
  );
}

/** Single-cluster mode with a client CA: the listener has verified the certificate. */
function certificateOfOneCluster(cluster: string): AuthenticateAgent {
  return ({ subject }) => {
    if (subject === undefined) throw unauthenticated('a client certificate is needed');
    return { cluster };
  };
}

/** The certificate of a registration, whose subject names the cluster. */
const certificateOfCluster: AuthenticateAgent = ({ subject }) => {
  if (subject === undefined) throw unauthenticated('a client certificate is needed');
  const [commonName = '', ...others] = subject.commonNames;
  const { organizations } = subject;
  const cluster = others.length > 0 ? undefined : clusterOfSubject({ commonName, organizations });
  if (cluster !== undefined) return { cluster, registered: true };
  throw unauthenticated(
    'the certificate names no cluster, or several; identifiers of the agent alone are not enough',
  );
};

/**
 * A token of one ServiceAccount, which upstream's server checks in the same order and refuses with
 * the same texts.
 */
export function serviceAccountOfOneCluster(
  cluster: string,
  account: ServiceAccountOptions,
  review: ReviewToken,
  limit: ReviewLimit,
): (credentials: Omit<AgentCredentials, 'subject'>) => Promise<AgentIdentity> {
  return async ({ authorization, address }) => {
    const token = bearerTokenOf(authorization);
    const reviewed = limit.run(address, () => review(token, account.audience));
    const status = await reviewed.catch((thrown: unknown) => {
      if (thrown instanceof StandardAgentError) throw thrown;
      const text = thrown instanceof Error ? thrown.message : String(thrown);
      throw new StandardAgentError(
        'authentication_unavailable',
        invalidToken(`Failed to authenticate request. err:${text}`),
        { cause: thrown },
      );
    });
    const problem = problemOf(status, account);
    if (problem !== undefined) throw unauthenticated(invalidToken(`lookup failed: ${problem}`));
    return { cluster };
  };
}

/**
 * A bearer token that names the cluster.
 *
 * @param clusterOf verifies the token; throws StandardAgentError
 */
function tokenOfCluster(
  clusterOf: (token: string, address: string) => Promise<AgentIdentity>,
  limit: ReviewLimit,
): AuthenticateAgent {
  return async ({ authorization, address }) => {
    const token = bearerTokenOf(authorization);
    return await limit.run(address, () => clusterOf(token, address));
  };
}

function bearerTokenOf(authorization: readonly string[]): string {
  const [value, ...others] = authorization;
  if (value === undefined) {
    throw unauthenticated('Authentication context was not found in metadata');
  }
  if (others.length > 0) {
    throw unauthenticated(`too many (${authorization.length}) tokens are received`);
  }
  const prefix = 'Bearer ';
  if (!value.startsWith(prefix)) {
    throw unauthenticated(`received token does not have "${prefix}" prefix`);
  }
  return value.slice(prefix.length).trim();
}

function problemOf(
  { authenticated, username, error }: ReviewedToken,
  { namespace, name }: ServiceAccountOptions,
): string | undefined {
  if (error !== '') return error;
  if (!authenticated) return 'service account jwt not valid';
  const parts = username.split(':');
  if (parts.length !== 4) return 'unexpected username format';
  const [system, kind, ofNamespace, ofName] = parts;
  if (system !== 'system' || kind !== 'serviceaccount') {
    return 'username returned is not a service account';
  }
  if (ofNamespace !== namespace) {
    return `incoming request from "${ofNamespace}" namespace. Expected "${namespace}"`;
  }
  if (ofName !== name) {
    return `incoming request from "${ofName}" service account. Expected "${name}"`;
  }
  return undefined;
}

function invalidToken(reason: string): string {
  return `Failed to validate authentication token, err:${reason}`;
}

function unauthenticated(text: string): StandardAgentError {
  return new StandardAgentError('unauthenticated', text);
}
