import {
  byPreference,
  isOtherProcess,
  processName,
  type AgentClaim,
  type AgentRecord,
  type Directory,
} from '../../src/broker/directory.ts';

/** How long the claims of a dead replica stay, in milliseconds, until its death is noticed. */
export const staleClaimMs = 2_000;

/**
 * A directory that several simulated replicas share. Answers come within the turn, where those of
 * `MemoryDirectory` wait for a digest that runs outside of virtual time.
 */
export class SimulatedDirectory {
  readonly #records = new Map<string, AgentRecord>();
  readonly #views = new Set<DirectoryView>();
  #epoch = 0;

  get size(): number {
    return this.#records.size;
  }

  view(): DirectoryView {
    const view = new DirectoryView(this);
    this.#views.add(view);
    return view;
  }

  claim(agent: AgentClaim): AgentRecord {
    const record = { ...agent, epoch: ++this.#epoch };
    const older = this.#records.get(keyOf(agent));
    this.#records.set(keyOf(agent), record);
    if (older !== undefined) for (const view of this.#views) view.fenced(older);
    for (const other of this.#records.values()) {
      if (other.cluster !== agent.cluster || !isOtherProcess(other, agent)) continue;
      for (const view of this.#views) view.otherProcess(other);
    }
    return record;
  }

  retire(record: AgentRecord): void {
    if (this.#records.get(keyOf(record))?.epoch !== record.epoch) return;
    this.#records.set(keyOf(record), { ...record, retiring: true });
  }

  release(record: AgentRecord): void {
    if (this.#records.get(keyOf(record))?.epoch === record.epoch) {
      this.#records.delete(keyOf(record));
    }
  }

  locate(cluster: string): AgentRecord[] {
    return [...this.#records.values()]
      .filter((record) => record.cluster === cluster)
      .sort(byPreference);
  }

  /** Claims that a replica made up to now; those that follow are by its successor. */
  claimsOf(replica: string): AgentRecord[] {
    return [...this.#records.values()].filter((record) => record.replica === replica);
  }

  drop(view: DirectoryView): void {
    this.#views.delete(view);
  }
}

/** The view of one replica's process, until it dies. */
export class DirectoryView implements Directory {
  readonly degraded = undefined;
  readonly #directory: SimulatedDirectory;
  #dead = false;
  #fenced: (claim: AgentRecord) => void = () => {};
  #otherProcess: (claim: AgentRecord) => void = () => {};

  constructor(directory: SimulatedDirectory) {
    this.#directory = directory;
  }

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    if (this.#dead) return { ...agent, epoch: 0 };
    return this.#directory.claim(agent);
  }

  async retire(claim: AgentRecord): Promise<void> {
    if (!this.#dead) this.#directory.retire(claim);
  }

  async release(claim: AgentRecord): Promise<void> {
    if (!this.#dead) this.#directory.release(claim);
  }

  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    return this.#directory.locate(cluster);
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

  onOtherProcess(listener: (claim: AgentRecord) => void): void {
    this.#otherProcess = listener;
  }

  fenced(claim: AgentRecord): void {
    this.#fenced(claim);
  }

  otherProcess(claim: AgentRecord): void {
    this.#otherProcess(claim);
  }

  die(): void {
    this.#dead = true;
    this.#fenced = () => {};
    this.#otherProcess = () => {};
    this.#directory.drop(this);
  }

  async close(): Promise<void> {
    this.die();
  }
}

function keyOf(claim: AgentClaim): string {
  return `${claim.cluster}/${claim.tunnel}/${processName(claim)}`;
}
