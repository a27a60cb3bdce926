import { clusterAlias } from '../../base/names/cluster-alias.ts';
import { byPreference, type AgentClaim, type AgentRecord, type Directory } from '../directory.ts';
import { tunnelKey } from '../tunnel-name.ts';
import { isClusterAlias } from '../../base/names/cluster-name.ts';

export interface ObjectDirectoryOptions {
  /** Claims of tunnels whose sockets outlived the object's memory. */
  readonly survivors?: readonly AgentRecord[];
  /**
   * Publishes the alias outside of this object. Resolves when dialers can find it, and never
   * rejects.
   */
  readonly publishAlias?: (alias: string, cluster: string) => Promise<void>;
}

interface Entry {
  readonly record: AgentRecord;
  readonly alias: string;
}

/**
 * The directory of a Durable Object. The object holds all tunnels of its cluster, so the directory
 * is right by construction and needs no store. Claims that must outlive the object's memory are
 * attached to the sockets. New epochs are above those of the claims that survived.
 */
export class ObjectDirectory implements Directory {
  readonly degraded = undefined;
  readonly #publishAlias: ObjectDirectoryOptions['publishAlias'];
  /** In the order of their epochs. */
  #entries: readonly Entry[];
  #epoch: number;
  #fenced: (claim: AgentRecord) => void = () => {};

  constructor({ survivors = [], publishAlias }: ObjectDirectoryOptions = {}) {
    const records = [...survivors].sort((a, b) => a.epoch - b.epoch);
    // Dialers name the cluster here, because the Worker resolves aliases.
    this.#entries = records.map((record) => ({ record, alias: '' }));
    this.#epoch = records.at(-1)?.epoch ?? 0;
    this.#publishAlias = publishAlias;
  }

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    const alias = await clusterAlias(agent.cluster);
    await this.#publishAlias?.(alias, agent.cluster);
    const record: AgentRecord = { ...agent, epoch: ++this.#epoch };
    const older = this.#entries.find((entry) => isSameTunnel(entry.record, record));
    this.#entries = [...this.#entries.filter((entry) => entry !== older), { record, alias }];
    if (older !== undefined) this.#fenced(older.record);
    return record;
  }

  async retire(claim: AgentRecord): Promise<void> {
    this.#entries = this.#entries.map((entry) => {
      const { record } = entry;
      if (record.epoch !== claim.epoch || !isSameTunnel(record, claim)) return entry;
      return { ...entry, record: { ...record, retiring: true } };
    });
  }

  async release(claim: AgentRecord): Promise<void> {
    this.#entries = this.#entries.filter(
      ({ record }) => record.epoch !== claim.epoch || !isSameTunnel(record, claim),
    );
  }

  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    const isAlias = isClusterAlias(cluster);
    const found = this.#entries.filter(({ record, alias }) =>
      isAlias ? alias === cluster : record.cluster === cluster,
    );
    return found.map(({ record }) => record).sort(byPreference);
  }

  releasedAtMs(): number {
    return -Infinity;
  }

  invalidate(): void {
    // Nothing is cached.
  }

  onFenced(listener: (claim: AgentRecord) => void): void {
    this.#fenced = listener;
  }

  onOtherProcess(): void {
    // There is no other replica.
  }

  async close(): Promise<void> {
    this.#entries = [];
  }
}

function isSameTunnel(a: AgentClaim, b: AgentClaim): boolean {
  return a.cluster === b.cluster && tunnelKey(a) === tunnelKey(b);
}
