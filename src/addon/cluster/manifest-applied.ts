import {
  type Condition,
  type ConditionNow,
  findCondition,
  isTrue,
  withCondition,
  withoutCondition,
} from '../api/condition.ts';
import type { ManifestWorkState } from '../api/manifest-work.ts';

/** How far the agent's objects have come on their way to the cluster. */
export type ManifestsOutcome =
  /** Nothing is rendered yet: OCM has not configured the addon, or it is being removed. */
  | { readonly t: 'waiting' }
  /** They cannot be rendered or stored; what the cluster has stays. */
  | { readonly t: 'failed'; readonly message: string }
  | {
      readonly t: 'stored';
      readonly works: readonly ManifestWorkState[];
      /** What was accepted and has no effect: sentences, for the message. */
      readonly notices: readonly string[];
    };

const type = 'ManifestApplied';

/** The same list with what is to be said about the manifests. */
export function withManifestApplied(
  conditions: readonly Condition[],
  outcome: ManifestsOutcome,
  nowMs: number,
): readonly Condition[] {
  if (outcome.t === 'waiting') return conditions;
  if (outcome.t === 'failed') {
    const { message } = outcome;
    const failed = { type, status: 'False', reason: 'ManifestWorkApplyFailed', message } as const;
    return withCondition(conditions, failed, nowMs);
  }
  const now = stateOf(outcome.works, outcome.notices);
  if (now !== undefined) return withCondition(conditions, now, nowMs);
  // The work agent has not answered. An older failure is no longer true; an older success still may be.
  const isFalse = findCondition(conditions, type)?.status === 'False';
  return isFalse ? withoutCondition(conditions, type) : conditions;
}

function stateOf(
  works: readonly ManifestWorkState[],
  notices: readonly string[],
): ConditionNow | undefined {
  const failures = works.flatMap(failuresOf);
  if (failures.length > 0) {
    const message = failures.join('; ');
    return { type, status: 'False', reason: 'AddonManifestAppliedFailed', message };
  }
  if (works.length === 0 || !works.every((work) => isTrue(work.conditions, 'Applied'))) {
    return undefined;
  }
  const message = ['manifests of addon are applied successfully', ...notices].join('; ');
  return { type, status: 'True', reason: 'AddonManifestApplied', message };
}

function failuresOf({ namespace, name, conditions, manifests }: ManifestWorkState): string[] {
  const applied = findCondition(conditions, 'Applied');
  if (applied?.status !== 'False') return [];
  const where = `ManifestWork ${namespace}/${name}`;
  const failed = manifests.flatMap(({ object, conditions }) => {
    const condition = findCondition(conditions, 'Applied');
    return condition?.status === 'False'
      ? [`${where}: the work agent could not apply ${object}: ${condition.message}`]
      : [];
  });
  if (failed.length > 0) return failed;
  return [`${where}: the work agent could not apply it: ${applied.message}`];
}
