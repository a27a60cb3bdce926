import { Informer, type InformerOptions } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { AddonContext } from './addon-context.ts';

/** A collection, its selectors, and the part of each object to keep. */
export type CachedCollection = Omit<InformerOptions<KubeObject>, 'api' | 'clock' | 'log'>;

export interface NamespaceCacheOptions extends Pick<AddonContext, 'api' | 'clock' | 'log'> {
  readonly collectionsOf: (namespace: string) => readonly CachedCollection[];
  /** Called when an object changes. */
  readonly onChange: () => void;
}

/** Cached copies of objects in the namespace of the brokers, which a configuration can change. */
export class NamespaceCache {
  readonly #options: NamespaceCacheOptions;
  #followed: { readonly namespace: string; readonly informers: readonly Informer[] } | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: NamespaceCacheOptions) {
    this.#options = options;
  }

  /** All objects in the caches. */
  get objects(): readonly KubeObject[] {
    return this.informers.flatMap((informer) => informer.list());
  }

  get informers(): readonly Informer[] {
    return this.#followed?.informers ?? [];
  }

  /** Follows `namespace` instead of the one before. */
  follow(namespace: string): void {
    if (this.#followed?.namespace === namespace) return;
    this.#stop.abort();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const { collectionsOf, onChange, ...context } = this.#options;
    const informers = collectionsOf(namespace).map((cached) => {
      const informer = new Informer({ ...context, ...cached });
      informer.onChange(onChange);
      return informer;
    });
    const runs = informers.map((informer) => informer.run(signal));
    this.#running = Promise.all([this.#running, ...runs]);
    this.#followed = { namespace, informers };
  }

  /** Waits until everything in the namespace has been read. */
  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all(this.informers.map((informer) => informer.synced(signal)));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#followed = undefined;
    await this.#running;
  }
}
