import { describeError } from '../../base/error.ts';
import { KubeError } from '../../kube/client/kube-error.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';

/** An object that could not be applied or deleted. */
export interface ObjectFailure {
  /** `Service hub/proxy-entrypoint` */
  readonly object: string;
  /** The answer of the API server, and the next step. */
  readonly sentence: string;
  /** Undefined: the sentence says everything. */
  readonly error?: unknown;
}

/**
 * Errors that concern one object. The reconcile continues with the others. Any other error ends it.
 */
const ofOneObject: ReadonlySet<string> = new Set([
  'not_found',
  'already_exists',
  'invalid',
  'forbidden',
  'not_served',
]);

const grantIt =
  "; grant that to the account of the addon manager, the chart's Roles hold what the chart's own names need";

/** The failures as one text. */
export function formatFailures(failures: readonly ObjectFailure[]): string {
  return failures.map(({ object, sentence }) => `${object}: ${sentence}`).join('; ');
}

/** The failures of single objects in one reconcile. */
export class Failures {
  readonly #all: ObjectFailure[] = [];

  get all(): readonly ObjectFailure[] {
    return this.#all;
  }

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  add(object: string, sentence: string, error?: unknown): void {
    this.#all.push({ object, sentence, error });
  }

  addAll(others: Failures): void {
    this.#all.push(...others.#all);
  }

  /**
   * Runs `write` for `object`, and collects an error that concerns this object alone.
   *
   * @returns whether it succeeded
   * @throws any other error
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

  /** All failures in one sentence. */
  toString(): string {
    return formatFailures(this.#all);
  }

  /** Makes the controller retry. @throws AggregateError when there are failures */
  throwIfAny(): void {
    if (this.isEmpty) return;
    const errors = this.#all.map(({ sentence, error }) => error ?? new Error(sentence));
    throw new AggregateError(errors, this.toString());
  }
}
