import { labels } from '../api/names.ts';
import {
  configurationApiVersion,
  configurationKind,
  type ManagedProxyConfiguration,
} from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject, ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';

/** Marks what `hubObjects` renders: an object with it that is no longer wanted is deleted, any other is left alone. */
export const hubLabel = { 'proxy.open-cluster-management.io/part': 'hub' } as const;

/** Finds the pods that serve :8090 and :8091; clusteradm looks for it too. */
export const serverLabel = { [labels.component]: 'proxy-server' } as const;

/** The ServiceAccount of the broker's pods. Not `cluster-proxy`: that one is the addon manager's, which may do far more. */
export const serverAccount = 'cluster-proxy-proxy-server';

/** Names in the hub's namespace that other modules fill or mount. */
export const hubSecrets = {
  /** `ca.crt`: whom the konnectivity side trusts, on both ends. */
  serverCa: 'proxy-server-ca',
  /** `ca.crt`: whom the broker trusts for agents. */
  agentCa: 'agent-ca',
  /** `key`: what replicas know each other by. */
  replicaKey: 'cluster-proxy-replica-key',
} as const;

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

/** The object of that kind and name among those that were observed. */
export function findObject(
  observed: readonly KubeObject[],
  kind: string,
  name: string,
  namespace?: string,
): KubeObject | undefined {
  return observed.find(
    (object) =>
      object.kind === kind &&
      object.metadata.name === name &&
      object.metadata.namespace === namespace,
  );
}
