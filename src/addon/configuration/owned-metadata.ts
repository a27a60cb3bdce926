import type { ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';
import { configurationApiVersion, configurationKind, hubLabel } from '../api/names.ts';
import type { ManagedProxyConfiguration } from './managed-proxy-configuration.ts';

/**
 * The owner of the hub's objects, as Cluster Proxy writes it: for garbage collection, without being
 * the controller.
 */
export function ownerOf({ name, uid }: ManagedProxyConfiguration): OwnerReference {
  return {
    apiVersion: configurationApiVersion,
    kind: configurationKind,
    name,
    uid,
    blockOwnerDeletion: true,
  };
}

/** Metadata of an object in the brokers' namespace that is deleted with the configuration. */
export function hubMeta(
  configuration: ManagedProxyConfiguration,
  name: string,
  more: Pick<ObjectMeta, 'labels' | 'annotations'> = {},
): ObjectMeta {
  return {
    namespace: configuration.spec.proxyServer.namespace,
    ...clusterMeta(configuration, name, more),
  };
}

/** Metadata of an object without a namespace that is deleted with the configuration. */
export function clusterMeta(
  configuration: ManagedProxyConfiguration,
  name: string,
  { labels, annotations }: Pick<ObjectMeta, 'labels' | 'annotations'> = {},
): ObjectMeta {
  return {
    name,
    labels: { ...hubLabel, ...labels },
    ...(annotations && Object.keys(annotations).length > 0 && { annotations }),
    ownerReferences: [ownerOf(configuration)],
  };
}
