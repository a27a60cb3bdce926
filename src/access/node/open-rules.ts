import type { Clock } from '../../base/clock.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import { type Authorizer, allOf } from '../authorizer.ts';
import type { ClusterDirectory } from '../cluster-directory.ts';
import { AccessReviewAuthorizer, type ReviewAccess } from '../subject-access-review.ts';
import type { WatchedAuthorizer } from '../watched-authorizer.ts';
import { keyedDigest } from './keyed-digest.ts';
import { PolicyFile } from './policy-file.ts';

export interface RulesOptions {
  /** Undefined: no policy. */
  readonly policyFile: string | undefined;
  /** Asks the hub cluster; undefined: it is not asked. */
  readonly reviewAccess?: ReviewAccess | undefined;
  /** Knows names and labels of clusters (default: none, and a policy with selectors is refused). */
  readonly clusters?: ClusterDirectory | undefined;
  /** Why labels are not known without `clusters`, and what to do (default: a general sentence). */
  readonly labelsProblem?: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The rules of a program. */
export interface Rules extends Disposable {
  /** Undefined: every valid credential may do everything, and managed clusters decide. */
  readonly authorizer: WatchedAuthorizer | undefined;
  readonly files: readonly FileStatus[];
}

const noLabels =
  'this program follows no hub cluster, so it knows no labels. Name the clusters instead.';

/**
 * Opens the rules that the options ask for. All of them must allow a request.
 *
 * @throws AccessError `labels_unknown` the policy has selectors, and there are no `clusters`
 */
export async function openRules(options: RulesOptions): Promise<Rules> {
  const { policyFile: path, reviewAccess: review, clusters, clock, log } = options;
  const directory = clusters === undefined ? {} : { clusters };
  const labelsProblem = clusters === undefined ? (options.labelsProblem ?? noLabels) : undefined;
  const policy =
    path === undefined
      ? undefined
      : await PolicyFile.open({ path, labelsProblem, clock, log, ...directory });
  const authorizers: Authorizer[] = policy === undefined ? [] : [policy];
  if (review !== undefined) {
    authorizers.push(
      new AccessReviewAuthorizer({ review, digest: keyedDigest, clock, ...directory }),
    );
  }
  const all = allOf(authorizers);
  return {
    authorizer:
      authorizers.length === 0
        ? undefined
        : {
            authorize: (...request) => all.authorize(...request),
            onChange: (listener) => policy?.onChange(listener),
          },
    files: policy === undefined ? [] : [policy],
    [Symbol.dispose]: () => policy?.[Symbol.dispose](),
  };
}
