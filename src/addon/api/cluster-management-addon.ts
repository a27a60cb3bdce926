import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';

/** The fields of the ClusterManagementAddOn that the addon uses. */
export type ClusterManagementAddOn = Readonly<ReturnType<typeof parseClusterManagementAddOn>>;

export function parseClusterManagementAddOn({ metadata, spec, status }: KubeObject) {
  return {
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    annotations: metadata.annotations ?? {},
    spec: fields(spec),
    status: fields(status),
  };
}
