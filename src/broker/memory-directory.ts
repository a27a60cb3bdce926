import { clusterAlias } from '../base/names/cluster-alias.ts';
import { isClusterAlias } from '../base/names/cluster-name.ts';
import { byPreference, type AgentClaim, type AgentRecord, type Directory } from './directory.ts';
import { tunnelKey } from './tunnel-name.ts';

/** The directory of a broker without other replicas. It keeps everything in this process. */
export class MemoryDirectory implements Directory {
  readonly degraded = undefined;
  /** Lists, because most clusters have one or two tunnels, and a map takes five times the memory. */
  readonly #byCluster = new Map<string, readonly AgentRecord[]>();
  readonly #clusterOfAlias = new Map<string, string>();
  #fenced: (claim: AgentRecord) => void = () => {};
  #epoch = 0;

  async claim(agent: AgentClaim): Promise<AgentRecord> {
    const alias = await clusterAlias(agent.cluster);
    const record: AgentRecord = { ...agent, epoch: ++this.#epoch };
    const records = this.#byCluster.get(agent.cluster) ?? [];
    const older = records.find(isOf(agent));
    this.#byCluster.set(agent.cluster, [...records.filter((of) => of !== older), record]);
    this.#clusterOfAlias.set(alias, agent.cluster);
    if (older !== undefined) this.#fenced(older);
    return record;
  }

  async retire(claim: AgentRecord): Promise<void> {
    const records = this.#byCluster.get(claim.cluster) ?? [];
    if (records.find(isOf(claim))?.epoch !== claim.epoch) return;
    const others = records.filter(({ epoch }) => epoch !== claim.epoch);
    this.#byCluster.set(claim.cluster, [...others, { ...claim, retiring: true }]);
  }

  async release(claim: AgentRecord): Promise<void> {
    const alias = await clusterAlias(claim.cluster);
    const records = this.#byCluster.get(claim.cluster) ?? [];
    if (records.find(isOf(claim))?.epoch !== claim.epoch) return;
    const others = records.filter(({ epoch }) => epoch !== claim.epoch);
    if (others.length > 0) return void this.#byCluster.set(claim.cluster, others);
    this.#byCluster.delete(claim.cluster);
    this.#clusterOfAlias.delete(alias);
  }

  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    const name = isClusterAlias(cluster) ? this.#clusterOfAlias.get(cluster) : cluster;
    const records = name === undefined ? undefined : this.#byCluster.get(name);
    return [...(records ?? [])].sort(byPreference);
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

/** Whether a record is of the same tunnel, within a cluster. */
function isOf(tunnel: AgentClaim): (record: AgentRecord) => boolean {
  const key = tunnelKey(tunnel);
  return (record) => tunnelKey(record) === key;
}
