import type { KubeObject } from '../client/kube-object.ts';
import { keyOf } from '../client/kube-ref.ts';

/** The indexes by name. Each function returns the values under which an object is found. */
export type Indexers<T extends KubeObject> = Readonly<
  Record<string, (object: T) => readonly string[]>
>;

/** Holds objects by key, and finds them by the values of indexes. */
export class ObjectStore<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #indexers: Indexers<T>;
  readonly #indexes = new Map<string, Map<string, Set<string>>>();

  constructor(indexers: Indexers<T> = {}) {
    this.#indexers = indexers;
    for (const name of Object.keys(indexers)) this.#indexes.set(name, new Map());
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): readonly string[] {
    return [...this.#objects.keys()];
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  /** @throws Error if there is no such index */
  byIndex(index: string, value: string): readonly T[] {
    const values = this.#indexes.get(index);
    if (values === undefined) throw new Error(`there is no index ${index}`);
    return Array.from(values.get(value) ?? [], (key) => this.#objects.get(key)!);
  }

  /** @returns the object that had the key before */
  set(object: T): T | undefined {
    const key = keyOf(object);
    const old = this.delete(key);
    this.#objects.set(key, object);
    for (const [index, values] of this.#indexes) {
      for (const value of this.#indexers[index]!(object)) {
        let keys = values.get(value);
        if (keys === undefined) values.set(value, (keys = new Set()));
        keys.add(key);
      }
    }
    return old;
  }

  /** @returns the deleted object */
  delete(key: string): T | undefined {
    const old = this.#objects.get(key);
    if (old === undefined) return undefined;
    this.#objects.delete(key);
    for (const [index, values] of this.#indexes) {
      for (const value of this.#indexers[index]!(old)) {
        const keys = values.get(value);
        keys?.delete(key);
        if (keys?.size === 0) values.delete(value);
      }
    }
    return old;
  }
}
