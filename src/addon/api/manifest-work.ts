import type { KubeObject } from '../../kube/client/kube-object.ts';
import { findCondition, parseConditions } from './condition.ts';
import { fields, items, text } from './fields.ts';
import { addonName } from './names.ts';
import { contentHash } from './spec-hash.ts';

/** The state of a ManifestWork, as the work agent of the cluster reports it. */
export type ManifestWorkState = Readonly<ReturnType<typeof parseManifestWork>>;

export function parseManifestWork({ metadata, status }: KubeObject) {
  const { conditions, resourceStatus } = fields(status);
  const appliedIn = (list: unknown) => findCondition(parseConditions(list), 'Applied');
  const applied = appliedIn(conditions);
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    /** The condition Applied. */
    applied,
    /** The cluster has the newest generation. */
    isApplied: applied?.status === 'True' && applied.observedGeneration === metadata.generation,
    manifests: items(fields(resourceStatus).manifests).map((manifest) => {
      const { kind, namespace, name } = fields(manifest.resourceMeta);
      const path = text(namespace) === '' ? text(name) : `${text(namespace)}/${text(name)}`;
      return {
        /** `Deployment ns/name` */
        object: `${text(kind)} ${path}`,
        applied: appliedIn(manifest.conditions),
      };
    }),
  };
}

export const workNamePrefix = `addon-${addonName}-deploy`;

/** Whether a ManifestWork of this name contains the agent, in this or an earlier rendering. */
export function isDeployWork(name: string): boolean {
  return name.startsWith(`${workNamePrefix}-`);
}

/**
 * Identifies a CA bundle. A rotation uses it to find clusters with an older bundle.
 */
export function caBundleMark(pem: string): string {
  return contentHash(pem).slice(0, 16);
}
