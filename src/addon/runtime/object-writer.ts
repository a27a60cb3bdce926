import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import type { ControllerContext } from './controller-context.ts';

/** Applies and deletes the objects of one reconcile, and logs it. */
export class ObjectWriter {
  readonly #context: Pick<ControllerContext, 'api' | 'applier' | 'log'>;
  readonly #level: 'info' | 'debug';
  readonly #signal: AbortSignal;
  /** A cache has not seen an earlier write yet. The reconcile must run again after `unseenMs`. */
  isUnseen = false;
  /** Something was written, so the caches show an earlier state. */
  hasWritten = false;

  /** @param level of the log line for an applied object */
  constructor(
    context: Pick<ControllerContext, 'api' | 'applier' | 'log'>,
    level: 'info' | 'debug',
    signal: AbortSignal,
  ) {
    this.#context = context;
    this.#level = level;
    this.#signal = signal;
  }

  /** @param live the object in a cache; undefined: there is none @throws KubeError */
  async apply(object: KubeObject, live: KubeObject | undefined): Promise<void> {
    const applied = await this.#context.applier.apply(object, live, this.#signal);
    if (applied === 'unseen') this.isUnseen = true;
    if (applied !== 'written') return;
    this.hasWritten = true;
    this.#context.log[this.#level]('applied', { object: describeRef(refOf(object)) });
  }

  /** Deletes `live`, unless it was deleted or replaced since the cache saw it. @throws KubeError */
  async delete(live: KubeObject): Promise<void> {
    const { uid } = live.metadata;
    const isDeleted = await this.#context.api.delete(refOf(live), { signal: this.#signal, uid });
    this.#context.applier.forget(live);
    if (isDeleted) this.#context.log.info('deleted', { object: describeRef(refOf(live)) });
  }
}
