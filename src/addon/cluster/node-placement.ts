import { describeError } from '../../base/error.ts';
import type { AddOnDeploymentConfig } from '../api/addon-deployment-config.ts';
import type { Findings } from '../api/diagnostics.ts';
import { type Fields, isFields, textMap } from '../api/fields.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { annotations, labels } from '../api/names.ts';

export interface NodePlacement {
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Fields[];
}

/** Nodes that are set apart for infrastructure are fit for the agent. */
const defaultTolerations: readonly Fields[] = [
  { key: 'dedicated', operator: 'Equal', value: 'infra', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/infra', operator: 'Exists', effect: 'NoSchedule' },
];

/** A configuration's placement replaces the whole of ours: empty, it means any node and no toleration. */
export function nodePlacementOf(
  cluster: ManagedCluster,
  configured: AddOnDeploymentConfig['nodePlacement'],
  findings: Findings,
): NodePlacement {
  const nodeSelector = localClusterSelector(cluster, findings);
  return configured ?? { nodeSelector, tolerations: defaultTolerations };
}

/** Where the hub manages itself, its installer says by annotation which of its nodes are for such things. */
function localClusterSelector(
  cluster: ManagedCluster,
  findings: Findings,
): Readonly<Record<string, string>> {
  const annotation = cluster.annotations[annotations.nodeSelector];
  const isLocal = cluster.labels[labels.localCluster]?.toLowerCase() === 'true';
  if (!isLocal || annotation === undefined) return {};
  const selector = parseSelector(annotation);
  if (!(selector instanceof Error)) return selector;
  findings.problems.push(
    `ManagedCluster ${cluster.name}: its annotation ${annotations.nodeSelector} is not a JSON object of strings (${describeError(selector)}); correct it or take it away`,
  );
  return {};
}

function parseSelector(annotation: string): Readonly<Record<string, string>> | Error {
  try {
    const parsed: unknown = JSON.parse(annotation);
    if (!isFields(parsed)) return new Error('it is no object');
    const selector = textMap(parsed);
    const isWhole = Object.keys(selector).length === Object.keys(parsed).length;
    return isWhole ? selector : new Error('a value is no string');
  } catch (thrown) {
    return new Error(describeError(thrown), { cause: thrown });
  }
}
