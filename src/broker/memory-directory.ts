import { clusterAlias } from '../base/names/cluster-alias.ts';
import { isClusterAlias } from '../base/names/cluster-name.ts';
import { byPreference, type AgentClaim, type AgentRecord, type Directory } from './directory.ts';
import { tunnelKey } from './tunnel-name.ts';

/** The directory of a broker without other replicas. It keeps everything in this process. */
export class MemoryDirectory implements Directory {
  readonly degraded = undefined;
  /** By cluster, and within it by `tunnelKey`. */
  readonly #byCluster = new Map<string, Map<string, AgentRecord>>();
  readonly #clusterOfAlias = new Map<string, string>();
  #fenced: (claim: AgentRecord) => void = () => {};
  #epoch = 0;

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    const alias = await clusterAlias(agent.cluster);
    const record: AgentRecord = { ...agent, epoch: ++this.#epoch };
    const records = this.#byCluster.get(agent.cluster) ?? new Map<string, AgentRecord>();
    const older = records.get(tunnelKey(agent));
    records.set(tunnelKey(agent), record);
    this.#byCluster.set(agent.cluster, records);
    this.#clusterOfAlias.set(alias, agent.cluster);
    if (older !== undefined) this.#fenced(older);
    return record;
  }

  async retire(claim: AgentRecord): Promise<void> {
    const records = this.#byCluster.get(claim.cluster);
    const key = tunnelKey(claim);
    if (records?.get(key)?.epoch === claim.epoch) records.set(key, { ...claim, retiring: true });
  }

  async release(claim: AgentRecord): Promise<void> {
    const alias = await clusterAlias(claim.cluster);
    const records = this.#byCluster.get(claim.cluster);
    if (records?.get(tunnelKey(claim))?.epoch !== claim.epoch) return;
    records.delete(tunnelKey(claim));
    if (records.size > 0) return;
    this.#byCluster.delete(claim.cluster);
    this.#clusterOfAlias.delete(alias);
  }

  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    const name = isClusterAlias(cluster) ? this.#clusterOfAlias.get(cluster) : cluster;
    const records = name === undefined ? undefined : this.#byCluster.get(name);
    return [...(records?.values() ?? [])].sort(byPreference);
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
    this.#byCluster.clear();
    this.#clusterOfAlias.clear();
  }
}
