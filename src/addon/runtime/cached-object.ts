import { isDeepStrictEqual } from 'node:util';
import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { fields, items, present } from '../api/fields.ts';
import { annotations } from '../api/names.ts';
import { contentHash } from '../api/spec-hash.ts';

/**
 * Identifies the content of an object, without its status and the metadata that the API server
 * maintains. Equal fingerprints mean that no program has edited the object in between.
 */
export function fingerprintOf(object: KubeObject): string {
  const { metadata, status: _, fingerprint, ...content } = object;
  if (typeof fingerprint === 'string') return fingerprint;
  const { labels, annotations, ownerReferences, finalizers } = metadata;
  return contentHash({
    ...content,
    metadata: { labels, annotations, ownerReferences, finalizers },
  });
}

/** Keeps metadata, and `fingerprint` instead of the rest. That saves kilobytes for each of thousands of objects. */
export function trimToFingerprint(object: KubeObject): KubeObject {
  const { apiVersion, kind, metadata } = object;
  return { apiVersion, kind, metadata: shortMeta(metadata), fingerprint: fingerprintOf(object) };
}

/**
 * Keeps a ManifestWork without its manifests and without the feedback values from the work agent.
 */
export function trimManifestWork(object: KubeObject): KubeObject {
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
      ...present({ generation }),
      ...(mark !== undefined && { annotations: { [annotations.caBundle]: mark } }),
    },
    status: { conditions, resourceStatus: { manifests } },
  };
}

/** Keeps the fields of a ManagedCluster that agents depend on. The others change often. */
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

/** This annotation of kubectl repeats the whole object. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** Whether two cached objects are equal except for their resourceVersion. */
export function isSameButVersion(a: KubeObject | undefined, b: KubeObject | undefined): boolean {
  const plain = (object: KubeObject) => {
    return { ...object, metadata: { ...object.metadata, resourceVersion: '' } };
  };
  return a !== undefined && b !== undefined && isDeepStrictEqual(plain(a), plain(b));
}

function shortMeta(metadata: ObjectMeta): ObjectMeta {
  const { name, namespace, uid, resourceVersion, labels, deletionTimestamp } = metadata;
  return { name, ...present({ namespace, uid, resourceVersion, labels, deletionTimestamp }) };
}
