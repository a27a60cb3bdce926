import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields } from './fields.ts';
import { addonName, annotations, apiGroups, configKinds, proxyConfigurationName } from './names.ts';

/** The fields of the ClusterManagementAddOn that the addon uses. */
export type ClusterManagementAddOn = Readonly<ReturnType<typeof parseClusterManagementAddOn>>;

export function parseClusterManagementAddOn({ apiVersion, metadata, spec, status }: KubeObject) {
  return {
    apiVersion,
    name: metadata.name,
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    annotations: metadata.annotations ?? {},
    spec: fields(spec),
    status: fields(status),
  };
}

/**
 * The ClusterManagementAddOn that makes OCM install the addon wherever `placement` points. The chart brings it; this is what the
 * chart's is compared with, and what a check of a foreign one names.
 *
 * @param version `v1alpha1` or `v1beta1`, as the hub serves it
 */
export function clusterManagementAddOn(
  version: string,
  placement: { readonly namespace: string; readonly name: string },
): KubeObject {
  const { group, resource } = configKinds.proxyConfiguration;
  const config =
    version === 'v1alpha1'
      ? {
          supportedConfigs: [
            { group, resource, defaultConfig: { name: proxyConfigurationName } },
            configKinds.deploymentConfig,
          ],
        }
      : { defaultConfigs: [{ group, resource, name: proxyConfigurationName }] };
  return {
    apiVersion: `${apiGroups.addon}/${version}`,
    kind: 'ClusterManagementAddOn',
    metadata: {
      name: addonName,
      annotations: { [annotations.lifecycle]: 'addon-manager' },
    },
    spec: {
      addOnMeta: { displayName: addonName, description: addonName },
      ...config,
      installStrategy: { type: 'Placements', placements: [placement] },
    },
  };
}
