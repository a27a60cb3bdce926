/** Upstream's strategies for choosing an agent by the host of a dial. */
export const proxyStrategies = ['default', 'destHost', 'defaultRoute'] as const;
export type ProxyStrategy = (typeof proxyStrategies)[number];

/** What the choice of an agent depends on. */
export interface Candidate {
  readonly hosts: ReadonlySet<string>;
  readonly isDefaultRoute: boolean;
  /** It shuts down and wants no more dials. */
  readonly isDraining: boolean;
  /** It has left a dial unanswered for long. */
  readonly isSuspect: boolean;
  /** Another connection of its agent id is older. */
  readonly isDuplicate: boolean;
  /** It has as many dials or connections as it may have. */
  readonly isFull: boolean;
  /** Its connections and dials. */
  readonly load: number;
}

/**
 * Chooses the agent for a dial. The first strategy that knows an agent decides. Among its agents,
 * the best is one that does not drain, that answers its dials, that is the oldest connection of its
 * agent id (because an agent closes further connections to a server that it has already), and that
 * has the fewest connections. Undefined: no strategy knows an agent.
 *
 * @param except agents that have been tried
 */
export function chooseAgent<C extends Candidate>(
  agents: Iterable<C>,
  strategies: readonly ProxyStrategy[],
  host: string,
  except: ReadonlySet<unknown>,
): C | undefined {
  const found = new Map<ProxyStrategy, { readonly agent: C; readonly rank: number }>();
  for (const agent of agents) {
    if (except.has(agent) || agent.isFull) continue;
    const rank = rankOf(agent);
    for (const strategy of strategies) {
      if (!knows(strategy, agent, host)) continue;
      const best = found.get(strategy);
      const isBetter =
        best === undefined ||
        rank < best.rank ||
        (rank === best.rank && agent.load < best.agent.load);
      if (isBetter) found.set(strategy, { agent, rank });
    }
  }
  const strategy = strategies.find((known) => found.has(known));
  return strategy === undefined ? undefined : found.get(strategy)?.agent;
}

function rankOf({ isDraining, isSuspect, isDuplicate }: Candidate): number {
  return (isDraining ? 4 : 0) + (isSuspect ? 2 : 0) + (isDuplicate ? 1 : 0);
}

function knows(strategy: ProxyStrategy, agent: Candidate, host: string): boolean {
  if (strategy === 'destHost') return agent.hosts.has(host);
  return strategy === 'default' || agent.isDefaultRoute;
}
