import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { ConfigReference } from '../api/config-reference.ts';
import { addOnOwner, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { caBundleMark, workNamePrefix } from '../api/manifest-work.ts';
import { addonName, annotations, labels } from '../api/names.ts';

/**
 * The most bytes in a ManifestWork. It must fit into one object in the hub's etcd, with room for
 * its status.
 */
const maxManifestBytes = 500 * 1024;

/**
 * The ManifestWorks that contain `objects`: `addon-cluster-proxy-deploy-0`, and more when one is
 * too small. The caller deletes existing works with higher numbers.
 *
 * @param caBundle the CAs of the hub, which are in one of `objects`
 */
export function manifestWorks(
  addon: ManagedClusterAddOn,
  objects: readonly KubeObject[],
  caBundle: string,
): readonly KubeObject[] {
  const hashes = configSpecHashes(addon.configReferences);
  return packed(objects).map((manifests, index) => ({
    apiVersion: 'work.open-cluster-management.io/v1',
    kind: 'ManifestWork',
    metadata: {
      name: `${workNamePrefix}-${index}`,
      namespace: addon.cluster,
      labels: { [labels.addonName]: addonName },
      annotations: {
        [annotations.caBundle]: caBundleMark(caBundle),
        ...(hashes !== undefined && { [annotations.configSpecHash]: hashes }),
      },
      ownerReferences: [{ ...addOnOwner(addon), controller: true, blockOwnerDeletion: true }],
    },
    spec: { workload: { manifests }, deleteOption: deleteOptionFor(objects) },
  }));
}

/**
 * Keeps the order, so that an object seldom moves to another ManifestWork. While it moves, the work
 * agent could delete it.
 */
function packed(objects: readonly KubeObject[]): readonly (readonly KubeObject[])[] {
  const packs: KubeObject[][] = [];
  let roomBytes = 0;
  for (const object of objects) {
    const bytes = Buffer.byteLength(JSON.stringify(object));
    const last = packs.at(-1);
    if (last === undefined || bytes > roomBytes) {
      packs.push([object]);
      roomBytes = maxManifestBytes - bytes;
    } else {
      last.push(object);
      roomBytes -= bytes;
    }
  }
  return packs;
}

/** Keeps objects with the annotation when the addon is removed. Only namespaces have it. */
function deleteOptionFor(objects: readonly KubeObject[]) {
  const orphaningRules = objects
    .filter(({ metadata }) => metadata.annotations?.[annotations.deletionOrphan] !== undefined)
    .map(({ kind, metadata: { name, namespace = '' } }) => {
      return { group: '', resource: `${kind.toLowerCase()}s`, name, namespace };
    });
  return { propagationPolicy: 'SelectivelyOrphan', selectivelyOrphans: { orphaningRules } };
}

/**
 * The hashes of the configurations from which a ManifestWork was rendered. OCM's addon manager
 * compares them with the addon's status to learn that a change has arrived. Undefined: there are no
 * configurations.
 */
function configSpecHashes(references: readonly ConfigReference[]): string | undefined {
  if (references.length === 0) return undefined;
  const hashes = references.flatMap(({ desired }) => {
    if (desired === undefined) return [];
    const { group, resource, namespace, name, specHash } = desired;
    const kind = group === '' ? resource : `${resource}.${group}`;
    return [[`${kind}/${namespace}/${name}`, specHash] as const];
  });
  return JSON.stringify(Object.fromEntries(hashes.toSorted(([a], [b]) => (a < b ? -1 : 1))));
}
