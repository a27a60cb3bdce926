import type { AgentConnection } from './agent-connection.ts';
import { isSuitable, processName, type AgentCriteria, type AgentProcess } from './directory.ts';
import { relayLimits } from './relay-options.ts';
import type { AgentStatus } from './status.ts';
import { tunnelKey, type TunnelName } from './tunnel-name.ts';

/** The tunnels here whose agents have sent HELLO, by cluster. */
export class TunnelTable {
  /**
   * By cluster, in the order of their HELLOs. Most clusters have one or two tunnels, and a map takes
   * five times the memory of such a list. A list never changes, because a loop over it may close
   * tunnels.
   */
  readonly #clusters = new Map<string, readonly AgentConnection[]>();

  get size(): number {
    let count = 0;
    for (const tunnels of this.#clusters.values()) count += tunnels.length;
    return count;
  }

  *[Symbol.iterator](): Iterator<AgentConnection> {
    for (const tunnels of this.#clusters.values()) yield* tunnels;
  }

  /** The cluster and the status of each tunnel. */
  get statuses(): (AgentStatus & { readonly cluster: string })[] {
    return Array.from(this, ({ cluster, status }) => ({ cluster, ...status }));
  }

  get(name: TunnelName): AgentConnection | undefined {
    const key = tunnelKey(name);
    return this.#clusters.get(name.cluster)?.find((tunnel) => tunnel.key === key);
  }

  count(cluster: string): number {
    return this.#clusters.get(cluster)?.length ?? 0;
  }

  of(cluster: string): Iterable<AgentConnection> {
    return this.#clusters.get(cluster) ?? [];
  }

  /** @returns the tunnel of the same name that it replaces */
  add(agent: AgentConnection): AgentConnection | undefined {
    const tunnels = this.#clusters.get(agent.cluster) ?? [];
    const replaced = tunnels.find(({ key }) => key === agent.key);
    const others = tunnels.filter((tunnel) => tunnel !== replaced);
    this.#clusters.set(agent.cluster, [...others, agent]);
    return replaced;
  }

  /**
   * Idempotent, and without effect on a tunnel that has replaced this one.
   *
   * @returns whether it was there
   */
  delete(agent: AgentConnection): boolean {
    const tunnels = this.#clusters.get(agent.cluster) ?? [];
    if (!tunnels.includes(agent)) return false;
    const others = tunnels.filter((tunnel) => tunnel !== agent);
    if (others.length === 0) this.#clusters.delete(agent.cluster);
    else this.#clusters.set(agent.cluster, others);
    return true;
  }

  /**
   * Chooses the tunnel for a session: one in the session's zone, of these the one with the fewest
   * sessions, a retiring tunnel only where there is no other, and a standby agent last. With
   * `process`, only a tunnel of that process, because the process has the session already. Such a
   * session never goes to a retiring tunnel, because it would have to move again at once. A session
   * that excludes ordinary agents does not go to a standby agent in their place.
   */
  choose(cluster: string, criteria: AgentCriteria): AgentConnection | undefined {
    const { process, excluded, zone } = criteria;
    let best: AgentConnection | undefined;
    for (const agent of this.of(cluster)) {
      if (!agent.claim.established || !isSuitable(agent, criteria)) continue;
      if (process === undefined ? agent.leaving : agent.retiring) continue;
      if (agent.isStandby && excluded !== undefined && this.#hasOrdinaryAgents(cluster)) continue;
      // Pings come every 20 s, so a tunnel that was silent for longer may be dead.
      if ((agent.link.silentMs ?? 0) > relayLimits.maxSilentMs) continue;
      if (best === undefined || isBetter(agent, best, zone)) best = agent;
    }
    return best;
  }

  /** Like `choose`, after the claims that are on their way have been made. */
  async chooseSoon(cluster: string, criteria: AgentCriteria): Promise<AgentConnection | undefined> {
    await Promise.all(Array.from(this.of(cluster), ({ claim }) => claim.made));
    return this.choose(cluster, criteria);
  }

  /**
   * Whether clients of a process can continue with another agent. An agent counts if it has been
   * connected for longer than the process can have been away, so that a cut of all agents does not
   * look like the end of one agent, or if it has the same agent id.
   */
  hasOtherAgents({ cluster, ...process }: AgentProcess & Pick<TunnelName, 'cluster'>): boolean {
    for (const other of this.of(cluster)) {
      if (other.draining || other.livenessPending || !other.claim.established) continue;
      if (processName(other) === processName(process)) continue;
      if (other.establishedForMs > relayLimits.otherAgentAgeMs) return true;
      if (other.agent === process.agent) return true;
    }
    return false;
  }

  #hasOrdinaryAgents(cluster: string): boolean {
    for (const { isStandby, claim, leaving } of this.of(cluster)) {
      if (!isStandby && claim.established && !leaving) return true;
    }
    return false;
  }

  /** The processes of the cluster here, except that of `agent`, that take new sessions. */
  countOtherAgents({ cluster, ...process }: TunnelName): number {
    const names = new Set<string>();
    for (const other of this.of(cluster)) {
      if (!other.claim.established || other.leaving) continue;
      if (other.isStandby && this.#hasOrdinaryAgents(cluster)) continue;
      names.add(processName(other));
    }
    names.delete(processName(process));
    return names.size;
  }
}

function isBetter(a: AgentConnection, b: AgentConnection, zone: string | undefined): boolean {
  if (a.isStandby !== b.isStandby) return b.isStandby;
  if (a.retiring !== b.retiring) return b.retiring;
  if (a.livenessPending !== b.livenessPending) return b.livenessPending;
  if (zone !== undefined && a.zone !== b.zone) {
    if (a.zone === zone) return true;
    if (b.zone === zone) return false;
  }
  return a.sessions.size < b.sessions.size;
}
