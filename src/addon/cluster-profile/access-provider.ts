import { isDeepStrictEqual } from 'node:util';
import { isClusterName } from '../../base/names/cluster-name.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Fields, fields, items, text } from '../api/fields.ts';
import { labels, userServer } from '../api/names.ts';

/** The name of Cluster Proxy's entry in `status.accessProviders` of a ClusterProfile. */
const providerName = 'open-cluster-management';
/** client-go passes this extension to the plugin that gets a token (KEP-5339). */
const execExtension = 'client.authentication.k8s.io/exec';

/** How programs on the hub reach the clusters of ClusterProfiles. */
export interface ProfileAccess {
  /** The namespace of the Service of the user-server. */
  readonly namespace: string;
  /** PEM, by which clients trust the user-server. */
  readonly ca: string;
}

/**
 * The cluster of a ClusterProfile. The label decides, because OCM names a ClusterProfile in each
 * bound namespace as it likes. Cluster Proxy takes the name of the object.
 */
export function clusterOf({ metadata }: KubeObject): string {
  const label = metadata.labels?.[labels.clusterName] ?? '';
  return isClusterName(label) ? label : metadata.name;
}

/**
 * The change of a ClusterProfile's status that adds, replaces or removes our entry, as a merge
 * patch. Entries of others keep their places. Undefined: nothing to change.
 *
 * @param access undefined: the cluster cannot be reached, so the entry is removed
 */
export function accessProviderPatch(
  profile: KubeObject,
  access: ProfileAccess | undefined,
): object | undefined {
  const status = fields(profile['status']);
  const before = items(status['accessProviders']);
  const after = access === undefined ? withoutOurs(before) : withOurs(before, profile, access);
  if (isDeepStrictEqual(before, after)) return undefined;
  return {
    // Null removes a field. The CRD has no default for the list.
    accessProviders: after.length === 0 ? null : after,
    // As Cluster Proxy does, so that Go programs read a list and not null.
    ...(status['conditions'] === undefined && { conditions: [] }),
  };
}

function withOurs(
  before: readonly Fields[],
  profile: KubeObject,
  access: ProfileAccess,
): readonly Fields[] {
  const ours = providerFor(clusterOf(profile), access);
  const at = before.findIndex(({ name }) => name === providerName);
  if (at === -1) return [...before, ours];
  const others = before.filter(({ name }, index) => name !== providerName || index === at);
  return others.map((entry) => (entry === before[at] ? ours : entry));
}

/** An entry of our name with another server is from another program, and stays. */
function withoutOurs(before: readonly Fields[]): readonly Fields[] {
  return before.filter(
    ({ name, cluster }) =>
      name !== providerName || !text(fields(cluster)['server']).startsWith(`https://${host}.`),
  );
}

const { service: host, port } = userServer;

function providerFor(clusterName: string, { namespace, ca }: ProfileAccess): Fields {
  return {
    name: providerName,
    cluster: {
      server: `https://${host}.${namespace}:${port}/${clusterName}`,
      'certificate-authority-data': Buffer.from(ca).toString('base64'),
      extensions: [{ name: execExtension, extension: { clusterName } }],
    },
  };
}
