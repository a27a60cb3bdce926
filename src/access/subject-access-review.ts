import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import { type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import { AccessError } from './access-error.ts';
import type { Action } from './action.ts';
import { AnswerCache, type KeptAnswers } from './answer-cache.ts';
import { allowed, type Authorizer, denied, type Verdict } from './authorizer.ts';
import { type ClusterDirectory, clusterNameOf, noClusters } from './cluster-directory.ts';
import type { KeyedDigest } from './keyed-digest.ts';
import { defaultReviewCache } from './kube-token-authenticator.ts';
import { ReviewQueue } from './review-queue.ts';
import type { Subject } from './subject.ts';

/** The spec of a Kubernetes SubjectAccessReview. */
export interface AccessReviewSpec {
  readonly user: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
  readonly resourceAttributes: Readonly<Record<string, string>>;
}

export interface AccessReviewStatus {
  readonly allowed?: unknown;
  readonly denied?: unknown;
  readonly reason?: unknown;
  readonly evaluationError?: unknown;
}

/** Creates a SubjectAccessReview on the hub cluster. @throws Error no answer */
export type ReviewAccess = (
  spec: AccessReviewSpec,
  signal: AbortSignal,
) => Promise<AccessReviewStatus | undefined>;

export interface AccessReviewOptions {
  readonly review: ReviewAccess;
  readonly clock: Clock;
  /** Finds the clusters of aliases (default: none). */
  readonly clusters?: ClusterDirectory;
  /** Default: as for TokenReviews, 10 s for allowed and 3 s for denied. */
  readonly cache?: { readonly good: KeptAnswers; readonly bad: KeptAnswers };
  /** For the keys of the cache (default: Web Crypto's, which costs a turn of the event loop). */
  readonly digest?: KeyedDigest | undefined;
}

const reviewTimeoutMs = 10_000;
const apiGroup = 'cluster.open-cluster-management.io';

/**
 * Asks the hub cluster's RBAC: may the subject use this verb on `managedclusters/proxy` with the
 * name of the cluster? A Service is the subresource `managedclusters/services`. Everything that is
 * no HTTP request has the verb `connect`.
 */
export class AccessReviewAuthorizer implements Authorizer {
  readonly #options: AccessReviewOptions;
  readonly #cache: AnswerCache<Verdict>;
  readonly #queue = new ReviewQueue();

  constructor(options: AccessReviewOptions) {
    this.#options = options;
    const { clock, digest, cache = defaultReviewCache } = options;
    this.#cache = new AnswerCache({
      clock,
      digest,
      ...cache,
      isGood: (verdict) => verdict.allowed,
    });
  }

  authorize(
    subject: Subject,
    cluster: string,
    action: Action,
    signal: AbortSignal,
  ): MaybePromise<Verdict> {
    const found = clusterNameOf(cluster, this.#options.clusters ?? noClusters);
    return whenKnown(found, (name) => this.#authorizeIn(name, subject, action, signal));
  }

  #authorizeIn(
    name: string,
    subject: Subject,
    action: Action,
    signal: AbortSignal,
  ): MaybePromise<Verdict> {
    const verb = verbOf(action);
    if (verb === '') return denied('the method of the request has no verb in Kubernetes');
    const user = hubUserOf(subject, name);
    if (user === undefined) {
      return denied(`the name ${JSON.stringify(subject.user)} is reserved for the hub cluster`);
    }
    const subresource = action.kind === 'service' ? 'services' : 'proxy';
    const resourceAttributes = {
      group: apiGroup,
      resource: 'managedclusters',
      subresource,
      name,
      verb,
    };
    const spec: AccessReviewSpec = { ...user, resourceAttributes };
    return this.#cache.get([JSON.stringify(spec)], () => this.#ask(spec), signal);
  }

  /** One user's questions leave room for those of others. */
  async #ask(spec: AccessReviewSpec): Promise<Verdict> {
    return await this.#queue.run(spec.user, () => this.#review(spec));
  }

  async #review(spec: AccessReviewSpec): Promise<Verdict> {
    const { clock, review } = this.#options;
    const timeout = new AbortController();
    const timer = clock.setTimer(reviewTimeoutMs, () =>
      timeout.abort(new Error('the SubjectAccessReview was not answered in time')),
    );
    try {
      return verdictOf(spec, await review(spec, timeout.signal));
    } catch (thrown) {
      if (thrown instanceof AccessError) throw thrown;
      throw new AccessError('unavailable', describeError(thrown), { cause: thrown });
    } finally {
      timer.cancel();
    }
  }
}

function verdictOf(spec: AccessReviewSpec, status: AccessReviewStatus | undefined): Verdict {
  if (status?.allowed === true && status.denied !== true) return allowed;
  if (status?.denied !== true && typeof status?.evaluationError === 'string') {
    if (status.evaluationError !== '') throw new AccessError('unavailable', status.evaluationError);
  }
  const { subresource, verb, name } = spec.resourceAttributes;
  return denied(
    `the hub cluster does not allow user ${JSON.stringify(spec.user)} to ${verb} managedclusters/${subresource} ${name} in group ${apiGroup}`,
  );
}

function verbOf(action: Action): string {
  switch (action.kind) {
    case 'kube':
      return action.verb;
    case 'kube-path':
      return action.verb === 'head' ? 'get' : action.verb;
    default:
      return 'connect';
  }
}

type ReviewedUser = Omit<AccessReviewSpec, 'resourceAttributes'>;

/**
 * The user whose rights the hub looks up. Names that the hub did not give have a prefix that names
 * who gave them, because a managed cluster could call its user as it likes. Undefined: the name
 * would be taken for one of the hub.
 */
function hubUserOf(subject: Subject, cluster: string): ReviewedUser | undefined {
  const { user, groups, uid, extra, source } = subject;
  switch (source) {
    case 'hub-token':
      return {
        user,
        groups,
        ...(uid === undefined ? {} : { uid }),
        ...(extra === undefined ? {} : { extra }),
      };
    case 'managed-token':
      return {
        user: `cluster:${cluster}:${user}`,
        groups: groups.map((group) => `cluster:${cluster}:${group}`),
      };
    case 'dialer-token':
      return { user: `token:${user}`, groups: [] };
    case 'none':
      return { user: 'system:anonymous', groups: ['system:unauthenticated'] };
    default:
      return [user, ...groups].some((name) => name.startsWith('system:'))
        ? undefined
        : { user, groups: [...groups, 'system:authenticated'] };
  }
}
