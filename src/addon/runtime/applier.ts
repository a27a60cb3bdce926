import { systemClock, type Clock } from '../../base/clock.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { keyOf } from '../../kube/client/kube-ref.ts';
import { contentHash } from '../api/spec-hash.ts';
import { fingerprintOf } from './cached-object.ts';

export type Applied =
  | 'written'
  /** It is as it was after the last write of the same. */
  | 'unchanged'
  /** It was written just now, and the cache has not seen that: look again after `unseenMs`. */
  | 'unseen';

/** How long a cache may take to see a write, in milliseconds. */
export const unseenMs = 2_000;

interface LastWrite {
  readonly wanted: string;
  readonly result: string;
  /** Undefined: there was none. */
  readonly versionBefore: string | undefined;
  readonly atMs: number;
}

/**
 * Applies objects, but not those that stand as they were after the last time. The server alone can tell whether an object is as it
 * shall be, as it fills in defaults and knows who owns what; so each is given to it once in the life of a process, and again when either
 * side has changed.
 */
export class Applier {
  readonly #api: KubeApi;
  readonly #clock: Clock;
  readonly #lastWrites = new Map<string, LastWrite>();

  constructor(api: KubeApi, clock: Clock = systemClock) {
    this.#api = api;
    this.#clock = clock;
  }

  /** @param live as a cache or the server has it; undefined: it is not there @throws KubeError as `apply` does */
  async apply(
    wanted: KubeObject,
    live: KubeObject | undefined,
    signal: AbortSignal,
  ): Promise<Applied> {
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

  /** After it was deleted. */
  forget(object: Pick<KubeObject, 'kind' | 'metadata'>): void {
    this.#lastWrites.delete(memoryKey(object));
  }
}

function memoryKey(object: Pick<KubeObject, 'kind' | 'metadata'>): string {
  return `${object.kind} ${keyOf(object)}`;
}
