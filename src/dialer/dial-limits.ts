/** How a dialer spreads streams over the agents of a cluster. */
export const dialLimits = {
  /**
   * A dialer opens a session with a further agent when each of its sessions with the cluster has
   * this many streams. So a cluster with little traffic costs one session.
   */
  spreadFromStreams: 4,
  /** Sessions of a dialer with the agents of one cluster. */
  maxAgents: 8,
  /** How long after "no other agent" a dialer asks again, in milliseconds. */
  askAgainMs: 10_000,
  /** A further session without streams ends after one to two times this long, in milliseconds. */
  idleMs: 30_000,
  /** Below this, differences in the latency of dials do not count, in milliseconds. */
  minDialMs: 10,
  /** The weight of the latest dial in the average latency of dials. */
  latencyWeight: 0.2,
  /** An agent in another zone counts as so many times as loaded. */
  otherZoneFactor: 8,
  /** How long other agents are preferred to an agent that refused a dial, in milliseconds. */
  avoidMs: 10_000,
  /** How long a dialer remembers that an agent does not reach a target, in milliseconds. */
  unreachableMs: 60_000,
  /** Targets that a dialer remembers as unreachable, over all agents. */
  maxUnreachable: 1_000,
} as const;
