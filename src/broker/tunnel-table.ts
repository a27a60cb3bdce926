import type { AgentConnection } from './agent-connection.ts';
import { isProcess, type AgentProcess } from './directory.ts';
import { relayLimits } from './relay-options.ts';
import { tunnelKey, type TunnelName } from './tunnel-name.ts';

/** The tunnels here whose agents have sent HELLO, by cluster. */
export class TunnelTable {
  /** By cluster, and within it by `AgentConnection.key`. */
  readonly #clusters = new Map<string, Map<string, AgentConnection>>();

  get size(): number {
    let count = 0;
    for (const tunnels of this.#clusters.values()) count += tunnels.size;
    return count;
  }

  *[Symbol.iterator](): Iterator<AgentConnection> {
    for (const tunnels of this.#clusters.values()) yield* tunnels.values();
  }

  get(name: TunnelName): AgentConnection | undefined {
    return this.#clusters.get(name.cluster)?.get(tunnelKey(name));
  }

  count(cluster: string): number {
    return this.#clusters.get(cluster)?.size ?? 0;
  }

  of(cluster: string): Iterable<AgentConnection> {
    return this.#clusters.get(cluster)?.values() ?? [];
  }

  /** @returns the tunnel of the same name that it replaces */
  add(agent: AgentConnection): AgentConnection | undefined {
    const tunnels = this.#clusters.get(agent.cluster) ?? new Map<string, AgentConnection>();
    const replaced = tunnels.get(agent.key);
    tunnels.set(agent.key, agent);
    this.#clusters.set(agent.cluster, tunnels);
    return replaced;
  }

  /**
   * Idempotent, and without effect on a tunnel that has replaced this one.
   *
   * @returns whether it was there
   */
  delete(agent: AgentConnection): boolean {
    const tunnels = this.#clusters.get(agent.cluster);
    if (tunnels?.get(agent.key) !== agent) return false;
    tunnels.delete(agent.key);
    if (tunnels.size === 0) this.#clusters.delete(agent.cluster);
    return true;
  }

  /**
   * Chooses the tunnel for a session: the one with the fewest sessions, a retiring tunnel only where
   * there is no other, and a standby agent last. With `process`, only a tunnel of that process, because the process has
   * the session already. Such a session never goes to a retiring tunnel, because it would have to
   * move again at once.
   */
  choose(cluster: string, process: AgentProcess | undefined): AgentConnection | undefined {
    let best: AgentConnection | undefined;
    for (const agent of this.of(cluster)) {
      if (!agent.claim.established) continue;
      if (process === undefined ? agent.leaving : !isProcess(agent, process)) continue;
      if (process !== undefined && agent.retiring) continue;
      // Pings come every 20 s, so a tunnel that was silent for longer may be dead.
      if ((agent.link.silentMs ?? 0) > relayLimits.maxSilentMs) continue;
      if (best === undefined || isBetter(agent, best)) best = agent;
    }
    return best;
  }

  /** Like `choose`, after the claims that are on their way have been made. */
  async chooseSoon(
    cluster: string,
    process: AgentProcess | undefined,
  ): Promise<AgentConnection | undefined> {
    await Promise.all(Array.from(this.of(cluster), ({ claim }) => claim.made));
    return this.choose(cluster, process);
  }
}

function isBetter(a: AgentConnection, b: AgentConnection): boolean {
  if (a.isStandby !== b.isStandby) return b.isStandby;
  if (a.retiring !== b.retiring) return b.retiring;
  if (a.livenessPending !== b.livenessPending) return b.livenessPending;
  return a.sessions.size < b.sessions.size;
}
