import type { KeySource } from '../../kube/controllers/controller.ts';

/** A value that tells its listeners when it changes. */
export class Observable<T> {
  readonly #isSame: (a: T, b: T) => boolean;
  readonly #listeners = new Set<() => void>();
  #value: T;

  /** @param isSame decides whether a new value is a change */
  constructor(initial: T, isSame: (a: T, b: T) => boolean) {
    this.#value = initial;
    this.#isSame = isSame;
  }

  get value(): T {
    return this.#value;
  }

  set(next: T): void {
    const before = this.#value;
    this.#value = next;
    if (!this.#isSame(before, next)) for (const listener of this.#listeners) listener();
  }

  /** @returns removes the listener; idempotent */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Reconciles `keys` when `state` changes. No controller waits for its first value. */
export function keysOnChange(
  state: Pick<Observable<unknown>, 'onChange'>,
  keys: () => Iterable<string>,
): KeySource {
  return {
    follow: (add) =>
      state.onChange(() => {
        for (const key of keys()) add(key);
      }),
    synced: () => Promise.resolve(),
  };
}
