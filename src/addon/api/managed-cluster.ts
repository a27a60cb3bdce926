import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';

/** The fields of a ManagedCluster that the addon uses. */
export interface ManagedCluster {
  readonly name: string;
  readonly uid: string;
  /** Whether an administrator of the hub has accepted the cluster. The addon makes nothing for other clusters. */
  readonly isAccepted: boolean;
  readonly isDeleting: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export function parseManagedCluster({ metadata, spec }: KubeObject): ManagedCluster {
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    isAccepted: fields(spec).hubAcceptsClient === true,
    isDeleting: metadata.deletionTimestamp !== undefined,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
  };
}
