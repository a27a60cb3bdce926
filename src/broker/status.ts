export interface AgentStatus {
  readonly agent: string;
  readonly software: string;
  /** RFC 3339. */
  readonly connectedAt: string;
  readonly sessions: number;
  readonly draining: boolean;
}

export interface ClusterStatus {
  readonly cluster: string;
  readonly agents: readonly AgentStatus[];
}

export interface BrokerStatus {
  readonly replica: string;
  readonly draining: boolean;
  readonly dialers: number;
  readonly relayedBytes: number;
  readonly clusters: readonly ClusterStatus[];
}

/** The agents of a broker, grouped by cluster. */
export function clusterStatuses(
  agents: Iterable<AgentStatus & { readonly cluster: string }>,
): ClusterStatus[] {
  const byCluster = new Map<string, AgentStatus[]>();
  for (const { cluster, ...agent } of agents) {
    const others = byCluster.get(cluster) ?? [];
    others.push(agent);
    byCluster.set(cluster, others);
  }
  return Array.from(byCluster, ([cluster, of]) => ({ cluster, agents: of }));
}
