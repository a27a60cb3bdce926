import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { AttachableLink, Link } from '../tunnel/link.ts';
import type { AgentSnapshot } from './tunnel-name.ts';
import type { DialerSnapshot } from './dialer-connection.ts';
import type { AgentRecord, Directory } from './directory.ts';

/** Bounds on what a peer of the broker may make it hold or wait for. */
export const relayLimits = {
  /** The first frame must come within this, in milliseconds. */
  helloTimeoutMs: 10_000,
  /** A tunnel from which nothing has come for this long gets no sessions, in milliseconds. */
  maxSilentMs: 45_000,
  /** An agent's process that is asked whether it is alive must answer within this, in milliseconds. */
  livenessTimeoutMs: 3_000,
  /**
   * How long a new session waits for an agent of its cluster to return, in milliseconds: counted from the broker's start, or from when
   * the cluster's last agent was lost. It looks for one at other replicas this often. More sessions than that do not wait.
   */
  agentReturnMs: 5_000,
  agentReturnPollMs: 500,
  maxWaitingSessions: 1_000,
  /**
   * A dialer that wants its session back hears that other agents are connected once one has been for this long, in milliseconds:
   * longer than dialers wait then, so a cut that hit all agents of a cluster does not look like the end of one.
   */
  otherAgentAgeMs: 1_500,
  /** A broker that drains waits so long for its agents to have a tunnel elsewhere, in milliseconds, looking this often. */
  agentsLeaveMs: 15_000,
  agentsLeavePollMs: 100,
  /** A tunnel is retired at this age, in milliseconds, give or take this part of it; it closes this much later. */
  maxTunnelAgeMs: 30 * 60_000,
  ageJitter: 0.2,
  retireMs: 60_000,
  /**
   * Bytes that may wait for one link beyond its room. Credit bounds them already; a peer that gets here breaks the credit
   * of its session, and its link is closed.
   */
  maxBacklogBytes: 128 * 1024 * 1024,
  /**
   * Bytes that may wait for all links together, where at least `largeBacklogBytes` wait for each. Beyond this the link with the largest
   * backlog is closed.
   */
  maxTotalBacklogBytes: 512 * 1024 * 1024,
  largeBacklogBytes: 1024 * 1024,
  /**
   * Bytes of control frames that may wait for one dialer since its link last had room. An honest session needs a few frames for each of
   * its streams.
   */
  maxQueuedControlBytes: 8 * 1024 * 1024,
  /**
   * Dials of one dialer: so many at once, and so many in a second from then on. Its link is not read faster. All sessions of an agent
   * share its tunnel, so without a limit the others would wait until the agent has refused the dials of one.
   */
  dialBurst: 10_000,
  dialsPerSecond: 5_000,
  dialPauseMs: 50,
} as const;

/** @throws TunnelError why the owner cannot be reached */
export type Forward = (
  owner: AgentRecord,
  dialer: { readonly cluster: string; readonly name: string },
) => Promise<AttachableLink>;

export interface RelayOptions {
  /** Names this broker among its replicas. */
  readonly replica: string;
  readonly directory: Directory;
  /** Where other replicas reach this one; empty where there are none. */
  readonly address: string;
  /** Makes a link for a dialer's session to the replica that holds the agent; undefined where there are no others. */
  readonly forward?: Forward;
  readonly clock: Clock;
  readonly log: Logger;
  /** When a tunnel is retired, in milliseconds; Infinity: never (default `relayLimits.maxTunnelAgeMs`). */
  readonly maxTunnelAgeMs?: number;
  /**
   * Told whatever is needed to take a link back (`Hub.restoreAgent`, `Hub.restoreDialer`), each time that it changes; for runtimes
   * whose sockets outlive the memory of this relay.
   */
  readonly onSnapshot?: (link: Link, kept: AgentSnapshot | DialerSnapshot) => void;
  /** The only cluster that is dialled here: without an agent of it the broker is not ready. Undefined: any may be. */
  readonly onlyCluster?: string | undefined;
  /** What this broker asks of the sessions that it carries; WELCOME tells it. */
  readonly sessionLimits?: {
    /** No receive window of a stream shall grow beyond this, in bytes. */
    readonly maxWindow: number;
  };
}
