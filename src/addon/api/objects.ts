import type { KubeObject } from '../../kube/client/kube-object.ts';

/** The object of that kind and name among `objects`. Without a namespace, the object is one of the whole cluster. */
export function findObject(
  objects: readonly KubeObject[],
  kind: string,
  name: string,
  namespace?: string,
): KubeObject | undefined {
  return objects.find(
    (object) =>
      object.kind === kind &&
      object.metadata.name === name &&
      object.metadata.namespace === namespace,
  );
}

/** The object in `objects` that has the kind, the name and the namespace of `object`. */
export function findSame(
  objects: readonly KubeObject[],
  { kind, metadata }: KubeObject,
): KubeObject | undefined {
  return findObject(objects, kind, metadata.name, metadata.namespace);
}
