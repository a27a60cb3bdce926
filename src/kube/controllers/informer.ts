import { Backoff } from '../../base/backoff.ts';
import { systemClock, type Clock, type Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { silentLogger, type Logger } from '../../base/log/logger.ts';
import { sleep } from '../../base/sleep.ts';
import { unlessAborted } from '../client/call-deadline.ts';
import type { KubeApi, KubeCollection, Selectors, WatchEvent } from '../client/kube-api.ts';
import { isKubeError, KubeError } from '../client/kube-error.ts';
import type { KubeObject } from '../client/kube-object.ts';
import { describeRef, keyOf, listAll } from '../client/kube-ref.ts';
import { ObjectStore, type Indexers } from './object-store.ts';

/** A change of one object. In a resync, `old` and `now` are the same object. */
export interface ObjectChange<T extends KubeObject = KubeObject> {
  /** See `keyOf`. */
  readonly key: string;
  /** Undefined for a new object. */
  readonly old: T | undefined;
  /** Undefined for a deleted object. */
  readonly now: T | undefined;
}

export interface InformerOptions<T extends KubeObject> extends Selectors {
  readonly api: KubeApi;
  readonly collection: KubeCollection;
  /**
   * Returns the part of an object to keep in memory (default: all but `managedFields`). Must keep
   * name, namespace and versions.
   */
  readonly keep?: ((object: T) => T) | undefined;
  readonly indexers?: Indexers<T> | undefined;
  /** How often listeners are called for every object again, in milliseconds (default: never). */
  readonly resyncEveryMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
  readonly backoff?: Backoff | undefined;
}

/** After a watch that was shorter than this, the informer waits before it watches again. */
const shortWatchMs = 1_000;

/** Omits `managedFields`, which are often half of an object and which we do not read. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata as KubeObject['metadata'] & {
    readonly managedFields?: unknown;
  };
  return { ...object, metadata };
}

/**
 * A copy of a collection that follows the server: it lists, then watches from the list's version. A
 * watch that ends is continued from its last version. The copy stays as it is while the server is
 * not reachable. The informer lists again when the server no longer knows the version, and after an
 * outage, because the store may have been restored from a backup in which versions mean other
 * changes.
 */
export class Informer<T extends KubeObject = KubeObject> {
  readonly #options: InformerOptions<T>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #keep: (object: T) => T;
  readonly #store: ObjectStore<T>;
  readonly #listeners = new Set<(change: ObjectChange<T>) => void>();
  readonly #listed = Promise.withResolvers<void>();
  #hasSynced = false;
  /** The version from which the watch continues. Undefined if a list is needed. */
  #version: string | undefined;
  #problem: string | undefined;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = (options.log ?? silentLogger).child({ informer: describeRef(options.collection) });
    this.#backoff = options.backoff ?? new Backoff({ baseMs: 500, capMs: 15_000 });
    this.#keep = options.keep ?? withoutManagedFields;
    this.#store = new ObjectStore(options.indexers);
  }

  get collection(): KubeCollection {
    return this.#options.collection;
  }

  /** Whether a list has been read once, so that an object that is not here did not exist. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Why the informer does not follow the server at the moment. Undefined if it does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get size(): number {
    return this.#store.size;
  }

  /** @param key see `keyOf` */
  get(key: string): T | undefined {
    return this.#store.get(key);
  }

  keys(): readonly string[] {
    return this.#store.keys();
  }

  list(): readonly T[] {
    return this.#store.list();
  }

  /** The objects with this value in an index. @throws Error if there is no such index */
  byIndex(index: string, value: string): readonly T[] {
    return this.#store.byIndex(index, value);
  }

  /**
   * Calls `listener` with each change, in order, after the copy has changed. Several changes during
   * an outage are one change. A new listener is called for all existing objects.
   *
   * @returns a function that removes the listener. Idempotent.
   */
  onChange(listener: (change: ObjectChange<T>) => void): () => void {
    this.#listeners.add(listener);
    for (const now of this.#store.list())
      this.#tell(listener, { key: keyOf(now), old: undefined, now });
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when a list has been read once. Aborting rejects with the signal's reason. */
  synced(signal: AbortSignal): Promise<void> {
    return unlessAborted(this.#listed.promise, signal);
  }

  /** Follows the server until `signal` aborts. Never rejects. Only one run at a time. */
  async run(signal: AbortSignal): Promise<void> {
    const resync = this.#startResync();
    try {
      while (!signal.aborted) await this.#listAndWatch(signal);
    } finally {
      resync?.cancel();
    }
  }

  /** Lists if needed, watches once, and waits if the watch failed or was short. */
  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.now();
    let thrown: unknown;
    try {
      this.#version ??= await this.#relist(signal);
      await this.#watch(this.#version, signal);
    } catch (failure) {
      thrown = failure;
    }
    if (signal.aborted) return;
    const wasLong = this.#clock.now() - startedMs >= shortWatchMs;
    if (isKubeError(thrown, 'gone') || isOutage(thrown)) this.#version = undefined;
    if (thrown !== undefined && !isKubeError(thrown, 'gone')) this.#reportProblem(thrown);
    if (wasLong) this.#backoff.reset();
    if (wasLong && thrown === undefined) return;
    const atLeastMs = thrown instanceof KubeError ? thrown.retryAfterMs : undefined;
    await sleep(this.#clock, this.#backoff.nextDelayMs(atLeastMs), signal).catch(() => {});
  }

  async #relist(signal: AbortSignal): Promise<string> {
    const { api, collection, labelSelector, fieldSelector } = this.#options;
    const options = { signal, labelSelector, fieldSelector };
    const { items, resourceVersion } = await listAll(api, collection, options, this.#keep);
    const present = new Set<string>();
    for (const now of items) {
      present.add(keyOf(now));
      this.#put(now);
    }
    for (const key of this.#store.keys()) if (!present.has(key)) this.#remove(key);
    this.#hasSynced = true;
    this.#listed.resolve();
    return resourceVersion;
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { api, collection, labelSelector, fieldSelector } = this.#options;
    const options = { signal, resourceVersion, labelSelector, fieldSelector };
    for await (const event of api.watch<T>(collection, options)) {
      this.#version = this.#take(event) ?? this.#version;
      this.#reportRecovery();
    }
    this.#reportRecovery();
  }

  /** @returns the version after the event */
  #take(event: WatchEvent<T>): string | undefined {
    if (event.type === 'bookmark') return event.resourceVersion;
    const { object } = event;
    if (event.type === 'deleted') this.#remove(keyOf(object));
    else this.#put(this.#keep(object));
    return object.metadata.resourceVersion;
  }

  #put(now: T): void {
    const key = keyOf(now);
    const { resourceVersion, uid } = now.metadata;
    const known = this.#store.get(key)?.metadata;
    if (known !== undefined && known.resourceVersion === resourceVersion && known.uid === uid)
      return;
    const old = this.#store.set(now);
    this.#tellAll({ key, old, now });
  }

  #remove(key: string): void {
    const old = this.#store.delete(key);
    if (old !== undefined) this.#tellAll({ key, old, now: undefined });
  }

  #startResync(): Timer | undefined {
    const { resyncEveryMs } = this.#options;
    if (resyncEveryMs === undefined) return undefined;
    const timer = this.#clock.setTimer(resyncEveryMs, () => {
      for (const now of this.#store.list()) this.#tellAll({ key: keyOf(now), old: now, now });
      timer.restart();
    });
    return timer;
  }

  #tellAll(change: ObjectChange<T>): void {
    for (const listener of this.#listeners) this.#tell(listener, change);
  }

  #tell(listener: (change: ObjectChange<T>) => void, change: ObjectChange<T>): void {
    try {
      listener(change);
    } catch (error) {
      this.#log.error('informer listener failed', { object: change.key, error });
    }
  }

  #reportProblem(thrown: unknown): void {
    // The first problem is a warning. Other problems of the same outage are details.
    const sentence = describeError(thrown);
    if (this.#problem === undefined) this.#log.warn('informer lost the server', { error: thrown });
    else if (this.#problem !== sentence)
      this.#log.debug('informer still without the server', { error: thrown });
    this.#problem = sentence;
  }

  #reportRecovery(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#log.info('informer follows the server again', { objects: this.#store.size });
  }
}

/**
 * Whether the server's history may have changed, for example by a restored backup: there was no
 * answer, or a watch broke off. A watch from a version that the server has not reached yet brings
 * neither events nor an error, so a list is needed. A server that asks for a later retry (429) has
 * no outage.
 */
function isOutage(thrown: unknown): boolean {
  if (!(thrown instanceof KubeError) || thrown.status === 429) return false;
  return thrown.code === 'timeout' || thrown.code === 'unavailable';
}
