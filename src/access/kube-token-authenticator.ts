import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { MaybePromise } from '../base/maybe-promise.ts';
import { AccessError } from './access-error.ts';
import { AnswerCache, type KeptAnswers } from './answer-cache.ts';
import type { KeyedDigest } from './keyed-digest.ts';
import { ReviewQueue } from './review-queue.ts';
import type { Subject } from './subject.ts';
import type { TokenAuthenticator } from './token-authenticator.ts';
import { readTokenReview, type ReviewToken } from './token-review.ts';

/** How long answers are kept by default, and how many. */
export const defaultReviewCache = {
  good: { forMs: 10_000, most: 10_000 },
  bad: { forMs: 3_000, most: 2_000 },
} as const satisfies { good: KeptAnswers; bad: KeptAnswers };

/** Longer tokens are refused without asking. ServiceAccount tokens have about 1,000 characters. */
export const maxTokenCharacters = 16 * 1024;

const reviewTimeoutMs = 10_000;

export interface KubeTokenAuthenticatorOptions {
  readonly source: 'managed-token' | 'hub-token';
  /**
   * Reviews a token at the API server of a cluster. The hub has one API server, so it ignores the
   * cluster.
   */
  readonly review: (cluster: string) => ReviewToken;
  /** Empty: the API server's own audience. */
  readonly audiences?: readonly string[];
  /** Default: `defaultReviewCache`. */
  readonly cache?: { readonly good: KeptAnswers; readonly bad: KeptAnswers };
  /** For the keys of the cache (default: Web Crypto's, which costs a turn of the event loop). */
  readonly digest?: KeyedDigest | undefined;
  readonly clock: Clock;
  /** The time of day in milliseconds since 1970 (default: the system's). */
  readonly now?: () => number;
}

/**
 * Finds the subjects of tokens by TokenReviews. Answers are kept for a short time and for one
 * cluster and audience. Few reviews run at a time, and one client may use a part of them.
 */
export class KubeTokenAuthenticator implements TokenAuthenticator {
  readonly #options: KubeTokenAuthenticatorOptions;
  readonly #cache: AnswerCache<Subject | undefined>;
  readonly #queues = new Map<string, { readonly queue: ReviewQueue; users: number }>();

  constructor(options: KubeTokenAuthenticatorOptions) {
    this.#options = options;
    const { clock, digest, cache = defaultReviewCache, now = Date.now } = options;
    this.#cache = new AnswerCache({
      ...{ clock, digest },
      ...cache,
      // An API server with another clock may accept a token that is expired here: it is not kept.
      validForMs: (subject) => (subject?.expiresAtMs ?? Infinity) - now(),
    });
  }

  authenticate(
    token: string,
    cluster: string,
    signal: AbortSignal,
    address?: string,
  ): MaybePromise<Subject | undefined> {
    if (token === '' || token.length > maxTokenCharacters) return undefined;
    const { source, audiences = [] } = this.#options;
    const where = source === 'managed-token' ? cluster : '';
    const question = [source, where, ...audiences, token];
    const review = () => this.#review(token, cluster);
    return this.#cache.get(question, () => this.#ask(where, address, review), signal);
  }

  /** A managed cluster that answers slowly uses up its own queue only. */
  async #ask<T>(where: string, address: string | undefined, review: () => Promise<T>): Promise<T> {
    const held = this.#queues.get(where) ?? { queue: new ReviewQueue(), users: 0 };
    this.#queues.set(where, held);
    held.users++;
    try {
      return await held.queue.run(address, review);
    } finally {
      if (--held.users === 0) this.#queues.delete(where);
    }
  }

  async #review(token: string, cluster: string): Promise<Subject | undefined> {
    const { source, review, audiences = [], clock } = this.#options;
    const timeout = new AbortController();
    const timer = clock.setTimer(reviewTimeoutMs, () =>
      timeout.abort(new AccessError('unavailable', 'the TokenReview was not answered in time')),
    );
    try {
      const status = await review(cluster)(token, audiences, timeout.signal);
      return readTokenReview(token, status, { source, audiences });
    } catch (thrown) {
      if (thrown instanceof AccessError) throw thrown;
      throw new AccessError('unavailable', describeError(thrown), { cause: thrown });
    } finally {
      timer.cancel();
    }
  }
}
