import { AccessError } from '../access/access-error.ts';
import { type ClusterDirectory, noClusters, scopeProblem } from '../access/cluster-directory.ts';
import { type Grant, LiveGrants } from '../access/live-grants.ts';
import type { ClusterScope, Subject } from '../access/subject.ts';
import type { WatchedAuthorizer } from '../access/watched-authorizer.ts';
import type { Clock } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import type { Identity } from './authenticator.ts';

type DialerIdentity = Extract<Identity, { readonly kind: 'dialer' }>;

export interface DialerAccessParts {
  readonly clock: Clock;
  /** Default: every token reaches the clusters that it names. */
  readonly authorizer?: WatchedAuthorizer | undefined;
  /** Knows the labels of clusters (default: none are known). */
  readonly clusters?: ClusterDirectory | undefined;
  /** The time of day in milliseconds since 1970 (default: the system's). */
  readonly now?: (() => number) | undefined;
}

/** Why a dialer gets no session. */
export interface DialerRefusal {
  readonly status: 403 | 503;
  readonly code: 'forbidden_cluster' | 'unavailable';
  readonly message: string;
}

/**
 * Decides into which clusters dialers open sessions: by the scope of their token, and by the rules.
 * Ends sessions whose token has expired, was revoked, or lost its rights.
 */
export class DialerAccess implements Disposable {
  readonly #rules: WatchedAuthorizer | undefined;
  readonly #clusters: ClusterDirectory;
  readonly #grants: LiveGrants;
  readonly #closed = new AbortController();

  constructor({ clock, authorizer, clusters = noClusters, now }: DialerAccessParts) {
    this.#rules = authorizer;
    this.#clusters = clusters;
    this.#grants = new LiveGrants({
      authorizer: {
        authorize: async (subject, cluster, action, signal) => {
          const problem = await scopeProblem(cluster, subject.scope, clusters);
          if (problem !== undefined) return { allowed: false, reason: `the token ${problem}` };
          return (
            (await authorizer?.authorize(subject, cluster, action, signal)) ?? { allowed: true }
          );
        },
        onChange: (listener) => authorizer?.onChange(listener),
      },
      clock,
      ...(now === undefined ? {} : { now }),
    });
  }

  /** Undefined: the dialer may open a session with the cluster. */
  async refusal(dialer: DialerIdentity, cluster: string): Promise<DialerRefusal | undefined> {
    const subject = subjectOf(dialer);
    const forbidden = { status: 403, code: 'forbidden_cluster' } as const;
    try {
      const problem = await scopeProblem(cluster, subject.scope, this.#clusters);
      if (problem !== undefined) {
        return { ...forbidden, message: `the token of ${dialer.name} ${problem}` };
      }
      if (this.#rules === undefined) return undefined;
      const { signal } = this.#closed;
      const verdict = await this.#rules.authorize(subject, cluster, { kind: 'session' }, signal);
      return verdict.allowed ? undefined : { ...forbidden, message: verdict.reason };
    } catch (thrown) {
      if (!(thrown instanceof AccessError)) throw thrown;
      const message = `it cannot be decided now whether this is allowed: ${thrown.message}`;
      return { status: 503, code: 'unavailable', message };
    }
  }

  /**
   * Watches the link of a session that was allowed.
   *
   * @returns a function that ends the watch, because the link has closed
   */
  watch(dialer: DialerIdentity, cluster: string, link: Link): () => void {
    const grant: Grant = {
      subject: subjectOf(dialer),
      cluster,
      action: { kind: 'session' },
      // A dialer whose token was replaced in its file resumes its session with the new token.
      end: (reason, cause) =>
        link.close(new TunnelError(cause === 'expired' ? 'draining' : 'forbidden', reason)),
    };
    this.#grants.add(grant);
    return () => this.#grants.remove(grant);
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new AccessError('unavailable', 'the broker is shutting down'));
    this.#grants[Symbol.dispose]();
  }
}

function subjectOf({ name, clusters, selector, id, expiresAtMs }: DialerIdentity): Subject {
  const scope: ClusterScope | undefined =
    clusters === undefined && selector === undefined
      ? undefined
      : { names: clusters ?? [], selector };
  return {
    user: name,
    groups: [],
    source: 'dialer-token',
    credential: id === undefined ? undefined : { kind: 'token', id },
    expiresAtMs,
    scope,
  };
}
