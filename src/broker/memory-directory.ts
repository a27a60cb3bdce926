import { clusterAlias } from '../base/cluster-alias.ts';
import type { AgentRecord, Directory } from './directory.ts';

/** The directory of a broker that is alone: everything in this process. */
export class MemoryDirectory implements Directory {
  readonly #byCluster = new Map<string, Map<string, AgentRecord>>();
  readonly #clusterOfAlias = new Map<string, string>();
  #epoch = 0;

  async claim(agent: Omit<AgentRecord, 'epoch'>): Promise<AgentRecord> {
    const alias = await clusterAlias(agent.cluster);
    const record: AgentRecord = { ...agent, epoch: ++this.#epoch };
    const agents = this.#byCluster.get(agent.cluster) ?? new Map<string, AgentRecord>();
    agents.set(agent.agent, record);
    this.#byCluster.set(agent.cluster, agents);
    this.#clusterOfAlias.set(alias, agent.cluster);
    return record;
  }

  async release(claim: AgentRecord): Promise<void> {
    const agents = this.#byCluster.get(claim.cluster);
    if (agents?.get(claim.agent)?.epoch !== claim.epoch) return;
    agents.delete(claim.agent);
    if (agents.size > 0) return;
    this.#byCluster.delete(claim.cluster);
    this.#clusterOfAlias.delete(await clusterAlias(claim.cluster));
    // A claim may have come in while the alias was computed.
    if (this.#byCluster.has(claim.cluster)) {
      this.#clusterOfAlias.set(await clusterAlias(claim.cluster), claim.cluster);
    }
  }

  async locate(cluster: string): Promise<readonly AgentRecord[]> {
    const agents =
      this.#byCluster.get(cluster) ??
      this.#byCluster.get(this.#clusterOfAlias.get(cluster) ?? cluster);
    return [...(agents?.values() ?? [])].sort((a, b) => b.epoch - a.epoch);
  }
}
