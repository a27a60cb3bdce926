import { describeError } from '../../base/error.ts';
import type { AddOnDeploymentConfig } from '../api/addon-deployment-config.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { type Fields, isFields, textMap } from '../api/fields.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { annotations, labels } from '../api/names.ts';

/** The agent may run on nodes that are reserved for infrastructure. */
const defaultTolerations: readonly Fields[] = [
  { key: 'dedicated', operator: 'Equal', value: 'infra', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/infra', operator: 'Exists', effect: 'NoSchedule' },
];

/**
 * The placement of a configuration replaces the default as a whole. An empty one means any node and
 * no toleration.
 */
export function nodePlacementOf(
  cluster: ManagedCluster,
  configured: AddOnDeploymentConfig['nodePlacement'],
  diagnostics: Diagnostics,
) {
  const nodeSelector = localClusterSelector(cluster, diagnostics);
  return configured ?? { nodeSelector, tolerations: defaultTolerations };
}

/** When the hub manages itself, its installer names suitable nodes in an annotation. */
function localClusterSelector(
  cluster: ManagedCluster,
  diagnostics: Diagnostics,
): Readonly<Record<string, string>> {
  const annotation = cluster.annotations[annotations.nodeSelector];
  const isLocal = cluster.labels[labels.localCluster]?.toLowerCase() === 'true';
  if (!isLocal || annotation === undefined) return {};
  try {
    return parseSelector(annotation);
  } catch (thrown) {
    diagnostics.problems.push(
      `ManagedCluster ${cluster.name}: its annotation ${annotations.nodeSelector} is not a JSON object of strings (${describeError(thrown)}); correct or remove it`,
    );
    return {};
  }
}

/** @throws Error */
function parseSelector(annotation: string): Readonly<Record<string, string>> {
  const parsed: unknown = JSON.parse(annotation);
  if (!isFields(parsed)) throw new Error('it is not an object');
  const selector = textMap(parsed);
  const isWhole = Object.keys(selector).length === Object.keys(parsed).length;
  if (!isWhole) throw new Error('a value is not a string');
  return selector;
}
