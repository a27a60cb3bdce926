import { type AgentConnection } from './agent-connection.ts';
import { tunnelKey, type TunnelName } from './tunnel-name.ts';
import { isProcess, type AgentProcess } from './directory.ts';
import { relayLimits } from './relay-options.ts';

/** The tunnels here that have said HELLO, by cluster. */
export class TunnelTable {
  /** By cluster, and there by `AgentConnection.key`. */
  readonly #clusters = new Map<string, Map<string, AgentConnection>>();

  get size(): number {
    let count = 0;
    for (const ports of this.#clusters.values()) count += ports.size;
    return count;
  }

  *[Symbol.iterator](): Iterator<AgentConnection> {
    for (const ports of this.#clusters.values()) yield* ports.values();
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

  /** @returns the tunnel whose place it takes */
  add(port: AgentConnection): AgentConnection | undefined {
    const ports = this.#clusters.get(port.cluster) ?? new Map<string, AgentConnection>();
    const before = ports.get(port.key);
    ports.set(port.key, port);
    this.#clusters.set(port.cluster, ports);
    return before;
  }

  /** Idempotent, and of no effect on a tunnel that took its place. @returns whether it was there */
  delete(port: AgentConnection): boolean {
    const ports = this.#clusters.get(port.cluster);
    if (ports?.get(port.key) !== port) return false;
    ports.delete(port.key);
    if (ports.size === 0) this.#clusters.delete(port.cluster);
    return true;
  }

  /**
   * For a session of a cluster: the tunnel with the fewest sessions, one that retires only where there is no other. With
   * `process`, only one of that process: it has the session already. That goes to a tunnel that stays, for else it would have
   * to move again at once.
   */
  choose(cluster: string, process: AgentProcess | undefined): AgentConnection | undefined {
    let best: AgentConnection | undefined;
    for (const port of this.of(cluster)) {
      if (!port.established) continue;
      if (process === undefined ? port.leaving : !isProcess(port, process)) continue;
      if (process !== undefined && port.retiring) continue;
      // Pings come every 20 s: it may be dead, and has only to be heard again.
      if ((port.link.silentMs ?? 0) > relayLimits.maxSilentMs) continue;
      if (best === undefined || isBetter(port, best)) best = port;
    }
    return best;
  }

  /** As `choose`, once the tunnels stand that are being claimed. */
  async chooseSoon(
    cluster: string,
    process: AgentProcess | undefined,
  ): Promise<AgentConnection | undefined> {
    await Promise.all(Array.from(this.of(cluster), ({ claimed }) => claimed));
    return this.choose(cluster, process);
  }
}

function isBetter(a: AgentConnection, b: AgentConnection): boolean {
  if (a.retiring !== b.retiring) return b.retiring;
  return a.livenessPending === b.livenessPending
    ? a.sessionCount < b.sessionCount
    : b.livenessPending;
}
