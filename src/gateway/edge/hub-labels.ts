import { AccessError } from '../../access/access-error.ts';
import { AnswerCache } from '../../access/answer-cache.ts';
import type { ClusterDirectory } from '../../access/cluster-directory.ts';
import type { Labels } from '../../access/label-selector.ts';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { askInTime } from './ask-in-time.ts';
import type { HubServer } from './hub-server.ts';

export interface HubLabelsParts extends Pick<HubServer, 'readLabels'> {
  readonly clock: Clock;
}

/** For how long labels are kept, so that a change takes effect within a minute. */
const kept = {
  good: { forMs: 30_000, most: 1_000 },
  bad: { forMs: 5_000, most: 1_000 },
} as const;

/**
 * The labels of clusters, for a runtime that cannot watch the hub cluster: they are read when a rule
 * needs them. Names of clusters are not listed, so an alias must be resolved before.
 */
export class HubLabels implements ClusterDirectory {
  readonly #parts: HubLabelsParts;
  readonly #cache: AnswerCache<Labels | undefined>;

  constructor(parts: HubLabelsParts) {
    this.#parts = parts;
    this.#cache = new AnswerCache({ clock: parts.clock, ...kept });
  }

  /** @throws AccessError `unavailable` the hub does not answer */
  async labelsOf(cluster: string): Promise<Labels | undefined> {
    return await this.#cache.get([cluster], () => this.#read(cluster));
  }

  names(): readonly string[] {
    return [];
  }

  async #read(cluster: string): Promise<Labels | undefined> {
    try {
      const { clock, readLabels } = this.#parts;
      return await askInTime(clock, (signal) => readLabels(cluster, signal));
    } catch (thrown) {
      const message = `the labels of cluster ${cluster} cannot be read: ${describeError(thrown)}`;
      throw new AccessError('unavailable', message, { cause: thrown });
    }
  }
}
