import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Condition, findCondition, parseConditions } from './condition.ts';
import { fields, items, text } from './fields.ts';
import { addonName } from './names.ts';
import { contentHash } from './spec-hash.ts';

/** The state of a ManifestWork, as the work agent of the cluster reports it. */
export interface ManifestWorkState {
  readonly namespace: string;
  readonly name: string;
  /** The cluster has the newest generation. */
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

export const workNamePrefix = `addon-${addonName}-deploy`;

/** Whether a ManifestWork of this name contains the agent, in this or an earlier rendering. */
export function isDeployWork(name: string): boolean {
  return name.startsWith(`${workNamePrefix}-`);
}

/** Identifies a CA bundle. By it a rotation finds the clusters that do not have the newest bundle. */
export function caBundleMark(pem: string): string {
  return contentHash(pem).slice(0, 16);
}
