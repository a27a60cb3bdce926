import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { fields, items } from '../api/fields.ts';
import { annotations } from '../api/names.ts';
import { contentHash } from '../api/spec-hash.ts';

/** An object of which only as much is kept as is looked at; `fingerprint` stands for the rest. */
export interface CachedObject extends KubeObject {
  readonly fingerprint: string;
}

/**
 * Stands for everything in an object but its status and the server's own bookkeeping: two that are equal have been edited by nobody in
 * between.
 */
export function fingerprintOf(object: KubeObject): string {
  if (isKept(object)) return object.fingerprint;
  const { metadata, status: _, ...content } = object;
  const { labels, annotations, ownerReferences, finalizers } = metadata;
  return contentHash({
    ...content,
    metadata: { labels, annotations, ownerReferences, finalizers },
  });
}

/** For objects of which we only ask whether they are there and as we left them: of thousands, each saves kilobytes. */
export function trimToFingerprint(object: KubeObject): CachedObject {
  const { apiVersion, kind, metadata } = object;
  return { apiVersion, kind, metadata: shortMeta(metadata), fingerprint: fingerprintOf(object) };
}

/** A ManifestWork without its manifests, and without what the work agent says of the values it was asked for. */
export function trimManifestWork(object: KubeObject): CachedObject {
  const { conditions, resourceStatus } = fields(object['status']);
  const manifests = items(fields(resourceStatus)['manifests']).map(
    ({ resourceMeta, conditions }) => {
      const { kind, namespace, name } = fields(resourceMeta);
      return { resourceMeta: { kind, namespace, name }, conditions };
    },
  );
  const { generation, annotations: written = {} } = object.metadata;
  const mark = written[annotations.caBundle];
  const kept = trimToFingerprint(object);
  return {
    ...kept,
    metadata: {
      ...kept.metadata,
      ...(generation !== undefined && { generation }),
      ...(mark !== undefined && { annotations: { [annotations.caBundle]: mark } }),
    },
    status: { conditions, resourceStatus: { manifests } },
  };
}

/** What an agent depends on; the rest of a ManagedCluster changes often, and means nothing to us. */
export function trimManagedCluster(object: KubeObject): KubeObject {
  const { apiVersion, kind, metadata, spec } = object;
  const { [lastApplied]: _, ...annotations } = metadata.annotations ?? {};
  const { hubAcceptsClient } = fields(spec);
  return {
    apiVersion,
    kind,
    metadata: { ...shortMeta(metadata), annotations },
    spec: { hubAcceptsClient },
  };
}

/** Repeats the whole object. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** Whether what is kept of an object is the same in both. */
export function isSameButVersion(a: KubeObject | undefined, b: KubeObject | undefined): boolean {
  return a !== undefined && b !== undefined && contentHash(plain(a)) === contentHash(plain(b));
}

function plain({ metadata, ...rest }: KubeObject): object {
  const { resourceVersion: _, ...others } = metadata;
  return { ...rest, metadata: others };
}

function isKept(object: KubeObject): object is CachedObject {
  return typeof object['fingerprint'] === 'string';
}

function shortMeta(metadata: ObjectMeta): ObjectMeta {
  const { name, namespace, uid, resourceVersion, labels, deletionTimestamp } = metadata;
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
    ...(labels !== undefined && { labels }),
    ...(deletionTimestamp !== undefined && { deletionTimestamp }),
  };
}
