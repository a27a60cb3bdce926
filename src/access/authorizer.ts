import { type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import type { Action } from './action.ts';
import type { Subject } from './subject.ts';

/** The answer of an authorizer. The reason is a sentence for the caller and the log. */
export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: string };

/** Decides whether a subject may do something in a cluster. */
export interface Authorizer {
  /**
   * @param cluster the name of the cluster, never its alias
   * @throws AccessError `unavailable` the decision cannot be made now. The caller must refuse.
   */
  authorize(
    subject: Subject,
    cluster: string,
    action: Action,
    signal: AbortSignal,
  ): MaybePromise<Verdict>;
}

export const allowed: Verdict = { allowed: true };

export function denied(reason: string): Verdict {
  return { allowed: false, reason };
}

/** The default: each subject may do everything, and the managed cluster's own rules decide. */
export const allowAll: Authorizer = { authorize: () => allowed };

/** Allows only what all of the authorizers allow. The first denial is the answer. */
export function allOf(authorizers: readonly Authorizer[]): Authorizer {
  const [first, ...others] = authorizers;
  if (first === undefined) return allowAll;
  const next = allOf(others);
  return {
    authorize: (...request) =>
      whenKnown(first.authorize(...request), (verdict) =>
        verdict.allowed ? next.authorize(...request) : verdict,
      ),
  };
}
