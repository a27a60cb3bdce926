import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Condition, findCondition, parseConditions } from './condition.ts';
import { fields, items, text } from './fields.ts';

/** What the work agent of a cluster says about a ManifestWork. */
export interface ManifestWorkState {
  readonly namespace: string;
  readonly name: string;
  /** The cluster has exactly what is stored now, not only something earlier. */
  readonly isApplied: boolean;
  readonly conditions: readonly Condition[];
  readonly manifests: readonly {
    /** `Deployment ns/name` */
    readonly object: string;
    readonly conditions: readonly Condition[];
  }[];
}

export function parseManifestWork({ metadata, status }: KubeObject): ManifestWorkState {
  const resourceStatus = fields(fields(status).resourceStatus);
  const conditions = parseConditions(fields(status).conditions);
  const applied = findCondition(conditions, 'Applied');
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    isApplied: applied?.status === 'True' && applied.observedGeneration === metadata.generation,
    conditions,
    manifests: items(resourceStatus.manifests).map((manifest) => {
      const { kind, namespace, name } = fields(manifest.resourceMeta);
      const path = text(namespace) === '' ? text(name) : `${text(namespace)}/${text(name)}`;
      return {
        object: `${text(kind)} ${path}`,
        conditions: parseConditions(manifest.conditions),
      };
    }),
  };
}
