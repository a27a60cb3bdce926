import type { ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';
import { configurationApiVersion, configurationKind, hubLabel } from '../api/names.ts';
import type { ManagedProxyConfiguration } from './managed-proxy-configuration.ts';

/**
 * The owner of the hub's objects, as Cluster Proxy writes it: for garbage collection, without being
 * the controller.
 */
export function ownerOf({ name, uid }: ManagedProxyConfiguration): OwnerReference {
  const kind = configurationKind;
  return { apiVersion: configurationApiVersion, kind, name, uid, blockOwnerDeletion: true };
}

type Marks = Pick<ObjectMeta, 'labels' | 'annotations'>;

/** Metadata of an object in the brokers' namespace that is deleted with the configuration. */
export function hubMeta(configuration: ManagedProxyConfiguration, name: string, more: Marks = {}) {
  const { namespace } = configuration.spec.proxyServer;
  return { namespace, ...clusterMeta(configuration, name, more) };
}

/** Metadata of an object without a namespace that is deleted with the configuration. */
export function clusterMeta(
  configuration: ManagedProxyConfiguration,
  name: string,
  { labels, annotations = {} }: Marks = {},
) {
  return {
    name,
    labels: { ...hubLabel, ...labels },
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ownerReferences: [ownerOf(configuration)],
  };
}
