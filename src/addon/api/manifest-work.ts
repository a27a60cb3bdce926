import type { KubeObject } from '../../kube/kube-object.ts';
import { type Condition, parseConditions } from './condition.ts';
import { fields, items, text } from './fields.ts';

/** What the work agent of a cluster says about a ManifestWork. */
export interface ManifestWorkState {
  readonly namespace: string;
  readonly name: string;
  readonly conditions: readonly Condition[];
  readonly manifests: readonly {
    /** `Deployment ns/name` */
    readonly object: string;
    readonly conditions: readonly Condition[];
  }[];
}

export function parseManifestWork({ metadata, status }: KubeObject): ManifestWorkState {
  const resourceStatus = fields(fields(status).resourceStatus);
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    conditions: parseConditions(fields(status).conditions),
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
