/** How long a dialer's session waits, in milliseconds. */
export const sessionWaits = {
  /**
   * For an agent whose connection the system closed. Its process is dead, and so are its connections
   * to targets, or it is back soon. Tunnels through the hub's kube-apiserver are cut when that
   * restarts, which takes 5 s at least.
   */
  agentGraceMs: 10_000,
  /**
   * The same while another agent of the cluster is connected. Clients can open their connections
   * again there, but only do so when this session's streams end. A live agent is back within this
   * time: its first attempt starts within 500 ms, and the second one at most 1 s after a failure of
   * the first.
   */
  otherAgentGraceMs: 2_000,
  /**
   * For the first link of a new session. Dials wait through a broker's restart instead of failing,
   * and get the true reason before their own time ends.
   */
  firstLinkMs: 8_000,
  /** Between attempts to resume a session. They are quick, because users notice a gap. */
  retry: { baseMs: 100, capMs: 1_000 },
  /**
   * The longest delay between attempts while a broker answers that the agent is away. The agent has
   * little time to return, so the attempt that finds it must not come too late.
   */
  agentRetryCapMs: 200,
  /** For WELCOME, from the first attempt to connect. */
  welcomeTimeoutMs: 10_000,
} as const;
