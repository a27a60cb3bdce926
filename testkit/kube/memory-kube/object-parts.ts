import type { KubeRef } from '../../../src/kube/client/kube-api.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import type { Tree } from './field-owners.ts';
import type { MemoryKind } from './kinds.ts';

/** Without what the server alone writes. */
export function ownedPart(object: KubeObject): Tree {
  const { apiVersion: _a, kind: _k, metadata, ...rest } = object;
  const { labels, annotations, ownerReferences, finalizers } = metadata;
  const own = Object.entries({ labels, annotations, ownerReferences, finalizers });
  const given = Object.fromEntries(own.filter(([, value]) => value !== undefined));
  return { ...rest, ...(own.length === 0 ? {} : { metadata: given }) };
}

export function withTree(before: KubeObject, ref: KubeRef, tree: Tree): KubeObject {
  const { apiVersion, kind, metadata } = before;
  const { labels: _l, annotations: _a, ownerReferences: _o, finalizers: _f, ...servers } = metadata;
  const { metadata: own, ...rest } = tree;
  const named = ref.namespace === undefined ? {} : { namespace: ref.namespace };
  const merged = { ...servers, name: ref.name, ...named, ...(own as object | undefined) };
  return { ...rest, apiVersion, kind, metadata: merged };
}

/** The part of an object that a write to `subresource` changes: only the status, or the rest. */
export function partOf(
  object: KubeObject,
  kind: MemoryKind,
  subresource: string | undefined,
): KubeObject {
  const { apiVersion, metadata, status, ...rest } = object;
  if (subresource === 'status') {
    const named = { ...metadata, labels: undefined, annotations: undefined } as never;
    return { apiVersion, kind: object.kind, metadata: named, status };
  }
  return kind.hasStatus && subresource === undefined ? { ...rest, apiVersion, metadata } : object;
}

/** With what the server gives every object. */
export function complete(object: KubeObject, before: KubeObject | undefined): KubeObject {
  const changed = before === undefined || !isSame(specOf(before), specOf(object));
  const metadata = {
    ...object.metadata,
    uid: before?.metadata.uid ?? crypto.randomUUID(),
    creationTimestamp: before?.metadata.creationTimestamp ?? new Date().toISOString(),
    generation: (before?.metadata.generation ?? 0) + (changed ? 1 : 0),
    ...(before?.metadata.deletionTimestamp === undefined
      ? {}
      : { deletionTimestamp: before.metadata.deletionTimestamp }),
  };
  return JSON.parse(JSON.stringify({ ...object, metadata })) as KubeObject;
}

function specOf({ metadata: _m, status: _s, ...spec }: KubeObject): unknown {
  return spec;
}

export function isSame(a: unknown, b: unknown): boolean {
  const plain = (value: unknown) =>
    JSON.stringify(value, (name, inner: unknown) => {
      if (name === 'resourceVersion') return undefined;
      if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
      return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)));
    });
  return plain(a) === plain(b);
}
