import { describeError } from '../../base/error.ts';
import { KubeError } from '../../kube/client/kube-error.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';

/** An object that could not be applied or deleted. */
export interface ObjectFailure {
  /** `Service hub/proxy-entrypoint` */
  readonly object: string;
  /** What the API server said, and what to do. */
  readonly sentence: string;
}

/** What the server says of one object, so that others may go on; anything else concerns all. */
const ofOneObject: ReadonlySet<string> = new Set([
  'not_found',
  'already_exists',
  'invalid',
  'forbidden',
  'not_served',
]);

const grantIt =
  "; grant that to the account of the addon manager, the chart's Roles hold what the chart's own names need";

/** What was in the way of single objects while the rest went on. */
export class Failures {
  readonly #all: ObjectFailure[] = [];
  readonly #errors: unknown[] = [];

  get all(): readonly ObjectFailure[] {
    return this.#all;
  }

  add(object: string, sentence: string, error?: unknown): void {
    this.#all.push({ object, sentence });
    this.#errors.push(error ?? new Error(sentence));
  }

  addAll(others: Failures): void {
    this.#all.push(...others.#all);
    this.#errors.push(...others.#errors);
  }

  /**
   * Runs `write` for `object`, and keeps what the server refuses it for.
   *
   * @returns whether it was done
   * @throws what does not concern that object alone
   */
  async attempt(object: KubeObject, write: () => Promise<unknown>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (thrown) {
      if (!(thrown instanceof KubeError) || !ofOneObject.has(thrown.code)) throw thrown;
      const next = thrown.code === 'forbidden' ? grantIt : '';
      this.add(describeRef(refOf(object)), `${describeError(thrown)}${next}`, thrown);
      return false;
    }
  }

  /** All in one sentence. */
  toString(): string {
    return this.#all.map(({ object, sentence }) => `${object}: ${sentence}`).join('; ');
  }

  /** So that whoever called tries again. @throws AggregateError where there are any */
  throwIfAny(): void {
    if (this.#all.length > 0) throw new AggregateError(this.#errors, this.toString());
  }
}
