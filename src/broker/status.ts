import type { Relay } from './relay.ts';

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

/** A snapshot of what this broker holds, for people and for `culvert status`. */
export function brokerStatus(relay: Relay): BrokerStatus {
  const clusters = new Map<string, AgentStatus[]>();
  for (const port of relay.agents()) {
    const agents = clusters.get(port.cluster) ?? [];
    agents.push({
      agent: port.agent,
      software: port.software,
      connectedAt: port.connectedAt.toISOString(),
      sessions: port.sessionCount,
      draining: port.draining,
    });
    clusters.set(port.cluster, agents);
  }
  return {
    replica: relay.options.replica,
    draining: relay.draining,
    dialers: relay.dialerCount,
    relayedBytes: relay.relayedBytes,
    clusters: Array.from(clusters, ([cluster, agents]) => ({ cluster, agents })),
  };
}
