import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { parseManagedCluster } from '../../../src/addon/api/managed-cluster.ts';
import { parseManagedClusterAddOn } from '../../../src/addon/api/managed-cluster-addon.ts';
import {
  addonName,
  annotations,
  apiGroups,
  configKinds,
  proxyConfigurationName,
} from '../../../src/addon/api/names.ts';

/** A ManagedClusterAddOn as the hub stores it. */
export function addOnObject({
  cluster = 'cluster1',
  version = 'v1alpha1',
  spec = {},
  status = {},
  metadata = {},
}: {
  cluster?: string;
  version?: string;
  spec?: object;
  status?: object;
  metadata?: object;
} = {}): KubeObject {
  return {
    apiVersion: `addon.open-cluster-management.io/${version}`,
    kind: 'ManagedClusterAddOn',
    metadata: {
      name: 'cluster-proxy',
      namespace: cluster,
      uid: '0c3f0000-0000-4000-8000-00000000add0',
      resourceVersion: '7',
      ...metadata,
    },
    spec,
    status,
  };
}

export function addOn(parts: Parameters<typeof addOnObject>[0] = {}) {
  return parseManagedClusterAddOn(addOnObject(parts));
}

export function managedCluster({
  name = 'cluster1',
  isAccepted = true,
  metadata = {},
}: { name?: string; isAccepted?: boolean; metadata?: object } = {}) {
  return parseManagedCluster({
    apiVersion: 'cluster.open-cluster-management.io/v1',
    kind: 'ManagedCluster',
    metadata: { name, uid: '0c3f0000-0000-4000-8000-0000000c1050', ...metadata },
    spec: { hubAcceptsClient: isAccepted },
  });
}

/** A condition whose last transition was an hour before `nowMs`. */
export function condition(type: string, status: string, reason = 'Because', message = '') {
  return { type, status, reason, message, lastTransitionTime: '2026-11-22T11:00:00Z' };
}

export const nowMs = Date.parse('2026-11-22T12:00:00Z');

export const deploymentConfigReference = {
  group: 'addon.open-cluster-management.io',
  resource: 'addondeploymentconfigs',
  name: 'deploy',
  namespace: 'config',
  lastObservedGeneration: 1,
  desiredConfig: { name: 'deploy', namespace: 'config', specHash: 'aa' },
};

export const proxyConfigurationReference = {
  group: 'proxy.open-cluster-management.io',
  resource: 'managedproxyconfigurations',
  name: 'cluster-proxy',
  lastObservedGeneration: 3,
  desiredConfig: { name: 'cluster-proxy', specHash: 'bb' },
};

/**
 * The ClusterManagementAddOn that makes OCM install the addon wherever `placement` points. The
 * chart has one.
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
