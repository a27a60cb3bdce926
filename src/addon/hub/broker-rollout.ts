import type { KubeObject } from '../../kube/kube-object.ts';
import { fields, integer } from '../api/fields.ts';
import { annotations } from '../api/names.ts';

/** Whether that many pods serve, all of them from the newest template. */
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
 * The generation of the configuration that the brokers' Deployment is to carry: the newest whose pods have come up.
 *
 * Cluster Proxy's manager leaves a Deployment alone that carries the generation that it sees. When a hub goes back to it, our
 * manager may see the older configuration as well, before it ends; pods of that image never come up as brokers, and the
 * Deployment must then not pass for done.
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
