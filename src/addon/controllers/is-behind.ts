import type { KubeObject } from '../../kube/kube-object.ts';
import { findCondition, parseConditions } from '../api/condition.ts';
import { fields } from '../api/fields.ts';

/** Whether a cluster has not taken over the newest of a ManifestWork. */
export function isBehind({ metadata, status }: KubeObject): boolean {
  const applied = findCondition(parseConditions(fields(status)['conditions']), 'Applied');
  const hasApplied = applied?.status === 'True';
  return !hasApplied || (applied.observedGeneration ?? 0) < (metadata.generation ?? 0);
}
