import type { ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';
import { configurationApiVersion, configurationKind, hubLabel } from '../api/names.ts';
import type { ManagedProxyConfiguration } from './managed-proxy-configuration.ts';

/** As upstream writes it: garbage collection follows it, and it does not claim to be the only controller. */
export function ownerOf({ name, uid }: ManagedProxyConfiguration): OwnerReference {
  return {
    apiVersion: configurationApiVersion,
    kind: configurationKind,
    name,
    uid,
    blockOwnerDeletion: true,
  };
}

/** Metadata of an object in the hub's namespace that goes away with the configuration. */
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

/** The same for an object without a namespace. */
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
