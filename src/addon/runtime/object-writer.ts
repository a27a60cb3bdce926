import { describeError } from '../../base/error.ts';
import { KubeError } from '../../kube/client/kube-error.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { KubeRef } from '../../kube/client/kube-api.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import type { ReconcileResult } from '../../kube/controllers/controller.ts';
import { unseenMs } from './applier.ts';
import type { ControllerContext } from './controller-context.ts';

/**
 * Errors that concern one object. The reconcile continues with the others. Any other error ends it.
 */
const ofOneObject = ['not_found', 'already_exists', 'invalid', 'forbidden', 'not_served'];

const grantIt =
  "; grant that to the account of the addon manager, the chart's Roles hold what the chart's own names need";

/**
 * Applies, patches and deletes the objects of one reconcile, and logs it. It collects the failures of single
 * objects. Any other error is thrown.
 */
export class ObjectWriter {
  readonly #context: Pick<ControllerContext, 'api' | 'applier' | 'log'>;
  readonly #level: 'info' | 'debug';
  readonly #signal: AbortSignal;
  readonly #sentences: string[] = [];
  /** The error of each failure. */
  readonly errors: unknown[] = [];
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

  /** All failures in one sentence. Undefined: there are none. */
  get failure(): string | undefined {
    return this.#sentences.join('; ') || undefined;
  }

  /** Adds a failure. @param object `Service hub/proxy-entrypoint` */
  fail(object: string, sentence: string, error: unknown = new Error(sentence)): void {
    this.#sentences.push(`${object}: ${sentence}`);
    this.errors.push(error);
  }

  /**
   * @param live the object in a cache; undefined: there is none
   * @returns whether the object is as it should be
   */
  async apply(object: KubeObject, live: KubeObject | undefined): Promise<boolean> {
    return await this.#attempt(refOf(object), async () => {
      const applied = await this.#context.applier.apply(object, live, this.#signal);
      if (applied === 'unseen') this.isUnseen = true;
      if (applied !== 'written') return;
      this.hasWritten = true;
      this.#context.log[this.#level]('applied', { object: describeRef(refOf(object)) });
    });
  }

  /** Sends a JSON merge patch. */
  async patch(ref: KubeRef, patch: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#attempt(ref, async () => {
      await this.#context.api.patch(ref, patch, { signal: this.#signal });
    });
  }

  /** Deletes `live`, unless it was deleted or replaced since the cache saw it. */
  async delete(live: KubeObject): Promise<void> {
    const ref = refOf(live);
    await this.#attempt(ref, async () => {
      const { uid } = live.metadata;
      const isDeleted = await this.#context.api.delete(ref, { signal: this.#signal, uid });
      this.#context.applier.forget(live);
      if (isDeleted) this.#context.log.info('deleted', { object: describeRef(ref) });
    });
  }

  async #attempt(ref: KubeRef, write: () => Promise<void>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (thrown) {
      if (!(thrown instanceof KubeError) || !ofOneObject.includes(thrown.code)) throw thrown;
      const next = thrown.code === 'forbidden' ? grantIt : '';
      this.fail(describeRef(ref), `${describeError(thrown)}${next}`, thrown);
      return false;
    }
  }
}

/** Makes the controller retry. @throws AggregateError when there are failures */
export function throwFailures(...writers: readonly ObjectWriter[]): void {
  const errors = writers.flatMap((writer) => writer.errors);
  const sentences = writers.flatMap(({ failure }) => failure ?? []);
  if (errors.length > 0) throw new AggregateError(errors, sentences.join('; '));
}

/**
 * The result of a reconcile with these writers. It runs again when a cache has not seen a write yet.
 *
 * @throws AggregateError when there are failures
 */
export function resultOf(...writers: readonly ObjectWriter[]): ReconcileResult | undefined {
  throwFailures(...writers);
  const isUnseen = writers.some((writer) => writer.isUnseen);
  return isUnseen ? { againAfterMs: 1.25 * unseenMs } : undefined;
}
