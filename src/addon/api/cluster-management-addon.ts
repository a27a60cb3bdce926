import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Fields, fields } from './fields.ts';
import { addonName, annotations, apiGroups, configKinds, proxyConfigurationName } from './names.ts';

/** The fields of the ClusterManagementAddOn that the addon uses. */
export interface ClusterManagementAddOn {
  readonly apiVersion: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: Fields;
  readonly status: Fields;
}

export function parseClusterManagementAddOn(object: KubeObject): ClusterManagementAddOn {
  const { metadata } = object;
  return {
    apiVersion: object.apiVersion,
    name: metadata.name,
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    annotations: metadata.annotations ?? {},
    spec: fields(object.spec),
    status: fields(object.status),
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
