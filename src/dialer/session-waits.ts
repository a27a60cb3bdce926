/** How long a dialer's session waits for what, in milliseconds. */
export const sessionWaits = {
  /**
   * For an agent whose connection the system closed: it is back within moments, or its process is dead and its targets' connections
   * with it.
   */
  agentGraceMs: 5_000,
  /**
   * The same where another agent of the cluster is connected: what clients open again works there, and until this session's streams end
   * they do not. A live agent is back within this: its first attempt starts within 500 ms.
   */
  otherAgentGraceMs: 1_000,
  /**
   * For the first link of a new session: dials wait through a broker's restart rather than fail, and hear the true reason before their
   * own patience ends.
   */
  firstLinkMs: 8_000,
  /** Between attempts to get a lost session back: a gap is noticed, so they are quick. */
  retry: { baseMs: 100, capMs: 1_000 },
  /** For WELCOME, from the first attempt to connect. */
  welcomeTimeoutMs: 10_000,
} as const;
