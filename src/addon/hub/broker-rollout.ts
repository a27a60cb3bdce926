import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, integer } from '../api/fields.ts';
import { annotations } from '../api/names.ts';

/** Whether `replicas` pods serve, all of them from the newest template. */
export function isRolledOut(deployment: KubeObject | undefined, replicas: number): boolean {
  const status = fields(deployment?.['status']);
  const count = (field: string) => integer(status[field]) ?? 0;
  return (
    deployment !== undefined &&
    count('observedGeneration') >= (deployment.metadata.generation ?? 0) &&
    ['replicas', 'updatedReplicas', 'availableReplicas'].every((one) => count(one) === replicas)
  );
}

/**
 * The generation for the annotation of the brokers' Deployment: the newest generation whose pods
 * have started.
 *
 * Cluster Proxy's manager does not touch a Deployment with the generation that it sees. At a
 * rollback to Cluster Proxy, this manager can see the older configuration before it ends. Pods of
 * the older image never start as brokers, so the Deployment must not have the generation of that
 * configuration.
 */
export function servedGeneration(
  live: KubeObject | undefined,
  wanted: {
    readonly generation: number;
    readonly renderedHash: string;
    readonly replicas: number;
  },
): string {
  const newest = String(wanted.generation);
  const carried = live?.metadata.annotations;
  const before = carried?.[annotations.configurationGeneration];
  const isSame = carried?.[annotations.renderedHash] === wanted.renderedHash;
  return before === undefined || (isSame && isRolledOut(live, wanted.replicas)) ? newest : before;
}
