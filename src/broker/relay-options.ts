import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import type { AgentRecord, Directory } from './directory.ts';
import type { AgentSnapshot, DialerSnapshot } from './snapshots.ts';

/** Limits on what a peer can make the broker hold or wait for. */
export const relayLimits = {
  /** HELLO must come within this time, in milliseconds. */
  helloTimeoutMs: 10_000,
  /** A tunnel that was silent for longer, in milliseconds, gets no new sessions. */
  maxSilentMs: 45_000,
  /** An agent's process must answer a liveness check within this time, in milliseconds. */
  livenessTimeoutMs: 3_000,
  /**
   * How long a new session waits for an agent of its cluster to return, in milliseconds: counted
   * from the broker's start, or from the loss of the cluster's last agent. While it waits, it looks
   * for an agent at other replicas at this interval. Beyond this number, sessions do not wait.
   */
  agentReturnMs: 5_000,
  agentReturnPollMs: 500,
  maxWaitingSessions: 1_000,
  /**
   * A dialer that resumes a session learns that its agent is gone once another agent has been
   * connected for this long, in milliseconds. That is longer than dialers wait before they resume,
   * so a cut that hits all agents of a cluster does not look like the end of one agent.
   */
  otherAgentAgeMs: 1_500,
  /**
   * How long a draining broker waits for its agents to connect elsewhere, and how often it looks,
   * in milliseconds.
   */
  agentsLeaveMs: 15_000,
  agentsLeavePollMs: 100,
  /**
   * A tunnel retires at this age, plus or minus this part of it, and closes this much later, in
   * milliseconds.
   */
  maxTunnelAgeMs: 30 * 60_000,
  ageJitter: 0.2,
  retireMs: 60_000,
  /**
   * Bytes that may wait for one link beyond its room. Credit already limits them, so a peer that
   * gets here breaks the credit of its session, and its link is closed.
   */
  maxBacklogBytes: 128 * 1024 * 1024,
  /**
   * Bytes that may wait for all links together. Only backlogs of at least `largeBacklogBytes`
   * count. Beyond this, the link with the largest backlog is closed.
   */
  maxTotalBacklogBytes: 512 * 1024 * 1024,
  largeBacklogBytes: 1024 * 1024,
  /**
   * Bytes of control frames that may wait for one dialer since its link last had room. An honest
   * session needs a few frames for each of its streams.
   */
  maxQueuedControlBytes: 8 * 1024 * 1024,
  /**
   * How many dials a dialer may make at once, and per second after that. The broker reads a faster
   * dialer's link more slowly. All sessions of an agent share its tunnel, so without this limit the
   * other sessions would wait until the agent has refused the dials of one session.
   */
  dialBurst: 10_000,
  dialsPerSecond: 5_000,
  dialPauseMs: 50,
} as const;

/**
 * Makes a link to the replica that holds a tunnel, for one session of a dialer.
 *
 * @throws TunnelError why the replica cannot be reached
 */
export type Forward = (
  owner: AgentRecord,
  dialer: { readonly cluster: string; readonly name: string; readonly isGateway: boolean },
) => Promise<AttachableLink>;

export interface RelayOptions {
  /** Names this broker among its replicas. */
  readonly replica: string;
  readonly directory: Directory;
  /** Where other replicas reach this one; empty: there are no other replicas. */
  readonly address: string;
  /** Undefined: there are no other replicas. */
  readonly forward?: Forward;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * The age at which a tunnel retires, in milliseconds; Infinity: never (default
   * `relayLimits.maxTunnelAgeMs`).
   */
  readonly maxTunnelAgeMs?: number;
  /**
   * Called with what `Relay.restoreAgent` or `Relay.restoreDialer` needs to take a link back, each
   * time that it changes. For runtimes whose sockets outlive the memory of this relay.
   */
  readonly onSnapshot?: (link: Link, snapshot: AgentSnapshot | DialerSnapshot) => void;
  /**
   * The only cluster that is dialed here: without an agent of it the broker is not ready.
   * Undefined: any cluster may be dialed.
   */
  readonly onlyCluster?: string | undefined;
  /** What this broker requires of the sessions that it carries. WELCOME tells both ends. */
  readonly sessionLimits?: {
    /** No receive window of a stream may grow beyond this, in bytes. */
    readonly maxWindow: number;
  };
}
