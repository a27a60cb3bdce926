import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { ConfigReference } from '../api/config-reference.ts';
import { addOnOwner, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import { caBundleMark, workNamePrefix } from '../api/manifest-work.ts';

/** How much a ManifestWork may carry: it has to fit into one object of the hub's etcd, with room for its status. */
const maxManifestBytes = 500 * 1024;

/**
 * The ManifestWorks that bring `objects` to the cluster: `addon-cluster-proxy-deploy-0` and, where they do not fit into one, more.
 * Those of higher numbers that exist and are not among them are to be deleted.
 *
 * @param caBundle of the hub, which is among `objects`
 */
export function manifestWorks(
  addon: ManagedClusterAddOn,
  objects: readonly KubeObject[],
  caBundle: string,
): readonly KubeObject[] {
  const deleteOption = deleteOptionFor(objects);
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
    spec: { workload: { manifests }, ...(deleteOption && { deleteOption }) },
  }));
}

/** In the order given, so that an object seldom changes its ManifestWork: moving between two, it could be deleted in between. */
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

/** What carries the annotation stays when the addon goes. Only namespaces do. */
function deleteOptionFor(objects: readonly KubeObject[]): object | undefined {
  const orphaned = objects.filter(
    ({ metadata }) => metadata.annotations?.[annotations.deletionOrphan] !== undefined,
  );
  if (orphaned.length === 0) return undefined;
  const orphaningRules = orphaned.map(({ kind, metadata }) => ({
    group: '',
    resource: `${kind.toLowerCase()}s`,
    name: metadata.name,
    namespace: metadata.namespace ?? '',
  }));
  return { propagationPolicy: 'SelectivelyOrphan', selectivelyOrphans: { orphaningRules } };
}

/**
 * Which configurations a ManifestWork was rendered from, as OCM's addon manager compares it with the addon's status to tell that a
 * change has arrived. Undefined: from none.
 */
function configSpecHashes(references: readonly ConfigReference[]): string | undefined {
  if (references.length === 0) return undefined;
  const hashes = references.flatMap(({ desired }) => {
    if (desired === undefined) return [];
    const { group, resource, namespace, name, specHash } = desired;
    const kind = group === '' ? resource : `${resource}.${group}`;
    return [[`${kind}/${namespace}/${name}`, specHash] as const];
  });
  hashes.sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(hashes));
}
