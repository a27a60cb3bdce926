/** One agent's tunnel, as the directory knows it: who holds it, and which of several claims is the newest. */
export interface AgentRecord {
  readonly cluster: string;
  readonly agent: string;
  /** The broker replica that holds the tunnel. */
  readonly replica: string;
  /** Higher wins: an agent that connects again raises it, so an owner that has not noticed yet is known to be stale. */
  readonly epoch: number;
}

/**
 * Who holds which cluster's tunnels. The contract suite is test/contracts/directory.contract.ts; every implementation
 * passes it. A directory is asked when a dialer's session begins, never when bytes move.
 */
export interface Directory {
  /** Says that `replica` holds this agent's tunnel from now on; an older claim for the same agent is fenced out. */
  claim(agent: Omit<AgentRecord, 'epoch'>): Promise<AgentRecord>;

  /** Takes a claim back, unless a newer one stands. Idempotent. */
  release(claim: AgentRecord): Promise<void>;

  /**
   * The agents that speak for a cluster, newest claim first; none where it is unknown.
   *
   * @param cluster its name, or its alias (see base/cluster-alias.ts); a name wins over an equal alias
   */
  locate(cluster: string): Promise<readonly AgentRecord[]>;
}
