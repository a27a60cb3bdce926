import type { TlsPolicy } from '../base/tls/tls-policy.ts';
import type { TcpAddress } from '../konnectivity/front.ts';
import { defaultFrontLimits, type FrontLimits } from '../konnectivity/front-limits.ts';
import type { TlsFiles } from '../konnectivity/tls-files.ts';
import type { ProxyStrategy } from './proxy-strategy.ts';

/** The ServiceAccount of the agents, as upstream's server checks it. */
export interface ServiceAccountOptions {
  readonly namespace: string;
  readonly name: string;
  /** The audience that tokens must have. */
  readonly audience: string;
}

/** Where the server publishes its Lease. */
export interface ServerLeaseOptions {
  readonly namespace: string;
  /** `KEY=VALUE`: the label of all servers' Leases. */
  readonly label: string;
}

/** How standard konnectivity agents connect, and to which clusters they belong. */
export interface KonnectivityAgentsOptions {
  readonly listen: TcpAddress;
  /**
   * Certificate and key of the listener. With a client CA, agents need a certificate of it. Without
   * one, agents need a token.
   */
  readonly tls: TlsFiles;
  readonly tlsPolicy: TlsPolicy;
  /**
   * Single-cluster mode: every agent with an accepted credential belongs to this cluster. Undefined:
   * the credential names the cluster.
   */
  readonly cluster: string | undefined;
  /** Agents need a token of this ServiceAccount. Only in single-cluster mode. */
  readonly serviceAccount: ServiceAccountOptions | undefined;
  /** The strategies that choose an agent, in this order. */
  readonly strategies: readonly ProxyStrategy[];
  /**
   * The name and number of servers that agents learn. An agent keeps one connection for each name,
   * and connects again until it has as many as the number says. So servers that share their agents
   * have one name and the number 1.
   */
  readonly serverId: string;
  readonly serverCount: number;
  /** Undefined: agents cannot count servers by Leases. */
  readonly serverLease?: ServerLeaseOptions | undefined;
}

/** All limits on standard agents, and all timeouts. */
export interface KonnectivityAgentsLimits extends FrontLimits {
  /** Agents of one cluster. */
  readonly maxAgentsPerCluster: number;
  /**
   * The sum of receive windows of one cluster's connections, and of what their clients make the
   * process keep, in bytes each.
   */
  readonly clusterBudgetBytes: number;
  /** Reviews of tokens that are open, in total and for one address. */
  readonly maxReviews: number;
  readonly maxReviewsPerAddress: number;
  /** Characters of an agent id. */
  readonly maxAgentIdLength: number;
  /** How long an agent's dial may take, in milliseconds. Upstream's agents give up after 5 s. */
  readonly dialTimeoutMs: number;
  /**
   * An agent that has left a dial unanswered for longer, in milliseconds, gets dials only if every
   * other agent has, too.
   */
  readonly suspectAfterMs: number;
  /** Dials of one agent that it has not answered, cancelled dials included. */
  readonly maxPendingDials: number;
  /** Connections of one agent. */
  readonly maxConnections: number;
  /**
   * With more bytes queued for an agent, windows of its connections are not given back. This is the
   * only limit on bytes to an agent, because the windows bound the rest.
   */
  readonly maxQueuedBytes: number;
  /**
   * Bytes that wait for one client beyond the room of its stream, and for all clients of an agent
   * together, also for those whose connections the agent has closed. Then the agent is not read,
   * because its protocol cannot hold back one connection.
   */
  readonly maxStreamBacklogBytes: number;
  readonly maxAgentBacklogBytes: number;
  /**
   * How long a client may keep the agent of other clients from being read, in milliseconds. Then
   * its connection is reset.
   */
  readonly stalledReaderMs: number;
  /**
   * How long after its last bytes the end of a client's connection reaches the agent, in
   * milliseconds. An agent that learns of the end drops bytes that its target has not taken yet.
   */
  readonly closeDelayMs: number;
  /**
   * How long a target may send nothing after a client's half-close, in milliseconds. Then the
   * connection is closed, because agents know no half-close.
   */
  readonly halfCloseIdleMs: number;
  /**
   * Packets of an agent that belong to no connection and no dial, beyond those that its dials
   * explain.
   */
  readonly maxStrayPackets: number;
}

export const defaultKonnectivityAgentsLimits: KonnectivityAgentsLimits = {
  ...defaultFrontLimits,
  maxAgentsPerCluster: 5_000,
  clusterBudgetBytes: 128 * 1024 * 1024,
  maxReviews: 64,
  maxReviewsPerAddress: 8,
  maxAgentIdLength: 256,
  dialTimeoutMs: 10_000,
  suspectAfterMs: 6_000,
  maxPendingDials: 1_000,
  maxConnections: 10_000,
  maxQueuedBytes: 256 * 1024,
  maxStreamBacklogBytes: 1024 * 1024,
  maxAgentBacklogBytes: 16 * 1024 * 1024,
  stalledReaderMs: 10_000,
  closeDelayMs: 500,
  halfCloseIdleMs: 5_000,
  maxStrayPackets: 1_000,
};
