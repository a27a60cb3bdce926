import { readCaCertificates } from '../base/tls/ca-certificates.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import { isKubeError, KubeError } from '../kube/client/kube-error.ts';
import type { KubeObject } from '../kube/client/kube-object.ts';
import { listAll } from '../kube/client/kube-ref.ts';

export interface HubClusters {
  readonly chosen: readonly HubCluster[];
  /** The names of all clusters of the hub, with or without the labels. */
  readonly all: ReadonlySet<string>;
}

export interface HubCluster {
  readonly name: string;
  /** PEM: the CA of its kube-apiserver, if the hub knows it. */
  readonly ca: string | undefined;
}

/** The part of a ManagedCluster that this command reads. */
interface ManagedCluster extends KubeObject {
  readonly spec?: {
    readonly hubAcceptsClient?: unknown;
    readonly managedClusterClientConfigs?: readonly { readonly caBundle?: unknown }[] | null;
  };
}

const collection = {
  apiVersion: 'cluster.open-cluster-management.io/v1',
  kind: 'ManagedCluster',
} as const;

/**
 * The accepted ManagedClusters of a hub, in the order of their names.
 *
 * @param selector labels of the clusters (default: every cluster)
 * @throws KubeError with advice for a user who may not list them
 */
export async function listHubClusters(
  hub: KubeApi,
  selector: string | undefined,
): Promise<HubClusters> {
  const { signal } = new AbortController();
  try {
    const { items: all } = await listAll<ManagedCluster>(hub, collection, { signal });
    const { items: labelled } =
      selector === undefined
        ? { items: all }
        : await listAll<ManagedCluster>(hub, collection, { signal, labelSelector: selector });
    return {
      chosen: labelled
        .filter(({ spec }) => spec?.hubAcceptsClient === true)
        .map((cluster) => ({ name: cluster.metadata.name, ca: caOf(cluster) }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      all: new Set(all.map(({ metadata }) => metadata.name)),
    };
  } catch (thrown) {
    if (!isKubeError(thrown, 'forbidden', 'not_served')) throw thrown;
    const { code } = thrown as KubeError;
    const reason =
      code === 'forbidden'
        ? 'the user may not list the ManagedClusters of the hub'
        : 'the API server has no ManagedClusters, so it is not a hub';
    throw new KubeError(code, `${reason}; name clusters with --cluster`, { cause: thrown });
  }
}

function caOf({ spec }: ManagedCluster): string | undefined {
  for (const { caBundle } of spec?.managedClusterClientConfigs ?? []) {
    if (typeof caBundle !== 'string' || caBundle === '') continue;
    try {
      return readCaCertificates(Buffer.from(caBundle, 'base64').toString('utf8'), 'servers');
    } catch {
      // The command then asks for --cluster-ca-file.
    }
  }
  return undefined;
}
