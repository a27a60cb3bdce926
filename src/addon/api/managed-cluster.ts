import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';

/** What we need of a ManagedCluster. */
export interface ManagedCluster {
  readonly name: string;
  readonly uid: string;
  /** Whether the hub's administrator has accepted it; nothing of ours is for a cluster that is not. */
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
