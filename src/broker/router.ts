import { TunnelError } from '../tunnel/errors.ts';
import type { AgentConnection } from './agent-connection.ts';
import { isProcess, type AgentProcess, type AgentRecord } from './directory.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import { ReturningAgents } from './returning-agents.ts';
import type { TunnelTable } from './tunnel-table.ts';

/** Where a session goes: to an agent's tunnel here, or to the replica that holds one. */
export type Route = { readonly here: AgentConnection } | { readonly elsewhere: AgentRecord };

/** What a session needs of a place. */
export interface RouteRequest {
  readonly cluster: string;
  /** The agent's process that has the session already. */
  readonly process: AgentProcess | undefined;
  /** Another replica sent the session here: it is not sent on. */
  readonly forwarded: boolean;
  /** A tunnel whose replica was asked in vain. */
  readonly except: AgentRecord | undefined;
}

/** Finds the tunnel for a dialer's session: one of this broker, else one of another replica. */
export class Router {
  readonly #options: RelayOptions;
  readonly #tunnels: TunnelTable;
  readonly #returning: ReturningAgents;
  #draining = false;

  constructor(options: RelayOptions, tunnels: TunnelTable) {
    this.#options = options;
    this.#tunnels = tunnels;
    this.#returning = new ReturningAgents(options.clock);
  }

  /** Agents of any cluster are expected in the next seconds: the broker has just started. */
  expectAgents(): void {
    this.#returning.expectAll();
  }

  /** A tunnel has come. */
  onAgentConnected({ cluster }: AgentConnection): void {
    this.#returning.onAgentConnected(cluster);
  }

  /** A tunnel takes no new sessions any more. */
  onAgentLost({ cluster, key }: AgentConnection): void {
    for (const port of this.#tunnels.of(cluster)) if (port.key !== key && !port.leaving) return;
    this.#returning.onAgentLost(cluster);
  }

  /** New sessions belong on other brokers from now on. */
  drain(): void {
    this.#draining = true;
    this.#returning.wakeAll();
  }

  /**
   * Where a session to `wish.cluster` goes: to a tunnel here, else to the replica that holds one; to one that retires only where
   * there is no other. With `wish.process`, only to that process. A new session waits up to `relayLimits.agentReturnMs` for a
   * cluster whose agents are likely to return.
   *
   * @throws TunnelError `no_agent`; `agent_lost` when the wanted process is not connected but another agent is; `draining` for
   *   a new session
   */
  async route(wish: RouteRequest, signal: AbortSignal): Promise<Route> {
    const { cluster, process, forwarded } = wish;
    const arrivedAtMs = this.#options.clock.now();
    for (;;) {
      if (this.#draining && process === undefined && !forwarded) {
        throw new TunnelError('draining', 'this broker is shutting down, dial again');
      }
      const { place, records } = await this.#find(wish);
      if (place !== undefined) return place;
      const none = new TunnelError('no_agent', `no agent of cluster ${cluster} is connected`);
      // A replica that sends its dialers on knows what to do next.
      if (forwarded) throw none;
      if (process !== undefined) throw this.#hasOthers(wish, records) ? goneAlone(wish) : none;
      // A tunnel that its replica does not hold any more was there a moment ago.
      const knownMs = records.length > 0 ? arrivedAtMs + relayLimits.agentReturnMs : -Infinity;
      const releasedAtMs = this.#options.directory.releasedAtMs(cluster);
      const elsewhereMs = releasedAtMs + relayLimits.agentReturnMs;
      const untilMs = Math.max(knownMs, elsewhereMs, this.#returning.untilMs(cluster));
      if (!(await this.#returning.wait(cluster, untilMs, signal))) throw none;
    }
  }

  async #find({
    cluster,
    process,
    forwarded,
    except,
  }: RouteRequest): Promise<{ place?: Route; records: readonly AgentRecord[] }> {
    // What is here is known better here than in any directory.
    let here = this.#tunnels.choose(cluster, process);
    here ??= await this.#tunnels.chooseSoon(cluster, process);
    if (isFirstChoice(here, process)) return { place: { here }, records: [] };
    const { directory, replica, forward } = this.#options;
    const records = await directory.locate(cluster);
    // It may be here under another name: the session was asked for by the cluster's alias.
    here ??= this.#tunnels.choose(records[0]?.cluster ?? cluster, process);
    if (isFirstChoice(here, process)) return { place: { here }, records };
    for (const record of forward === undefined || forwarded ? [] : records) {
      if (record.replica === replica) continue;
      if (except?.replica === record.replica && record.epoch <= except.epoch) continue;
      if (process !== undefined && !isProcess(record, process)) continue;
      if (record.retiring && (here !== undefined || process !== undefined)) continue;
      return { place: { elsewhere: record }, records };
    }
    return here === undefined ? { records } : { place: { here }, records };
  }

  /** Whether another process is connected: for longer than the wanted one can have been away, or in its place. */
  #hasOthers({ cluster, process }: RouteRequest, records: readonly AgentRecord[]): boolean {
    for (const port of this.#tunnels.of(records[0]?.cluster ?? cluster)) {
      if (port.draining || port.livenessPending || !port.established) continue;
      if (port.establishedForMs > relayLimits.otherAgentAgeMs || port.agent === process!.agent)
        return true;
    }
    return records.some(
      (record) =>
        record.replica !== this.#options.replica &&
        record.retiring !== true &&
        !isProcess(record, process!),
    );
  }
}

/** A tunnel that is no worse than one of another replica. A new session does not go to a process that may be dead. */
function isFirstChoice(
  port: AgentConnection | undefined,
  process: AgentProcess | undefined,
): port is AgentConnection {
  if (port === undefined || port.retiring) return false;
  return process !== undefined || !port.livenessPending;
}

function goneAlone({ cluster, process }: RouteRequest): TunnelError {
  const sentence = `agent ${process!.agent} is not connected, other agents of cluster ${cluster} are`;
  return new TunnelError('agent_lost', sentence);
}
