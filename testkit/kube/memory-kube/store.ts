import type { KubeCollection, KubeRef } from '../../../src/kube/client/kube-api.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import type { FieldOwners } from './field-owners.ts';
import type { MemoryKind } from './kinds.ts';

export interface Stored {
  readonly object: KubeObject;
  readonly owners: FieldOwners;
}

export interface Happened {
  readonly version: number;
  readonly old: KubeObject | undefined;
  readonly now: KubeObject | undefined;
}

/** The store that several clients share: `api.as(manager)` is another one. */
export class Store {
  readonly kinds = new Map<string, MemoryKind>();
  readonly objects = new Map<string, Stored>();
  readonly happened: Happened[] = [];
  readonly watchers = new Set<() => void>();
  /** Watches from before this are too old. */
  oldestVersion = 1000;
  version = 1000;
}

export const kindKey = ({ apiVersion, kind }: Pick<KubeCollection, 'apiVersion' | 'kind'>) =>
  `${apiVersion} ${kind}`;
export const objectKey = (ref: KubeRef) => `${kindKey(ref)} ${ref.namespace ?? ''} ${ref.name}`;

/** Whether an object belongs to a collection. */
export function inCollection({ apiVersion, kind, namespace }: KubeCollection) {
  return (object: KubeObject) =>
    object.apiVersion === apiVersion &&
    object.kind === kind &&
    (namespace === undefined || object.metadata.namespace === namespace);
}
