import { systemClock, type Clock } from '../../base/clock.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { keyOf } from '../../kube/client/kube-ref.ts';
import { contentHash } from '../api/spec-hash.ts';
import { fingerprintOf } from './cached-object.ts';

/** The time in which a cache should see a write, in milliseconds. */
export const unseenMs = 2_000;

interface LastWrite {
  readonly wanted: string;
  readonly result: string;
  /** Undefined: there was no object. */
  readonly versionBefore: string | undefined;
  readonly atMs: number;
}

/**
 * Applies objects, except those that are unchanged since the last time. Only the API server can
 * compare an object with the wanted one, because it fills in defaults and knows the managers of
 * fields. So each object is applied once in the life of a process, and again when the wanted or the
 * live object has changed.
 */
export class Applier {
  readonly #api: KubeApi;
  readonly #clock: Clock;
  readonly #lastWrites = new Map<string, LastWrite>();

  constructor(api: KubeApi, clock: Clock = systemClock) {
    this.#api = api;
    this.#clock = clock;
  }

  /**
   * @param live the object in a cache or on the server; undefined: there is none
   * @returns `unchanged`: the object is as it was after the last write. `unseen`: the cache has not
   *   seen a recent write, so the reconcile must run again after `unseenMs`.
   * @throws KubeError
   */
  async apply(
    wanted: KubeObject,
    live: KubeObject | undefined,
    signal: AbortSignal,
  ): Promise<'written' | 'unchanged' | 'unseen'> {
    const key = memoryKey(wanted);
    const { resourceVersion: _, ...metadata } = wanted.metadata;
    const print = contentHash({ ...wanted, metadata });
    const last = this.#lastWrites.get(key);
    const versionBefore = live?.metadata.resourceVersion;
    if (last?.wanted === print) {
      if (live !== undefined && fingerprintOf(live) === last.result) return 'unchanged';
      const isRecent = this.#clock.now() - last.atMs < unseenMs;
      if (isRecent && versionBefore === last.versionBefore) return 'unseen';
    }
    const stored = await this.#api.apply(wanted, { force: true, signal });
    const result = fingerprintOf(stored);
    this.#lastWrites.set(key, { wanted: print, result, versionBefore, atMs: this.#clock.now() });
    return 'written';
  }

  /** Must be called after the object was deleted. */
  forget(object: Pick<KubeObject, 'kind' | 'metadata'>): void {
    this.#lastWrites.delete(memoryKey(object));
  }
}

function memoryKey(object: Pick<KubeObject, 'kind' | 'metadata'>): string {
  return `${object.kind} ${keyOf(object)}`;
}
