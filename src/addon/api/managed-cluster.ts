import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';

/** The fields of a ManagedCluster that the addon uses. */
export type ManagedCluster = Readonly<ReturnType<typeof parseManagedCluster>>;

export function parseManagedCluster({ metadata, spec }: KubeObject) {
  return {
    name: metadata.name,
    /**
     * Whether an administrator of the hub has accepted the cluster. The addon makes nothing for
     * other clusters.
     */
    isAccepted: fields(spec).hubAcceptsClient === true,
    isDeleting: metadata.deletionTimestamp !== undefined,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
  };
}
