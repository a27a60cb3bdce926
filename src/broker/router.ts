import { TunnelError } from '../tunnel/errors.ts';
import type { AgentConnection } from './agent-connection.ts';
import {
  isProcess,
  isSuitable,
  type AgentCriteria,
  type AgentProcess,
  type AgentRecord,
} from './directory.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import { ReturningAgents } from './returning-agents.ts';
import type { TunnelTable } from './tunnel-table.ts';

/** Where a session goes: to an agent's tunnel here, or to the replica that holds a tunnel. */
export type Route =
  | { readonly kind: 'local'; readonly agent: AgentConnection }
  | { readonly kind: 'remote'; readonly owner: AgentRecord };

/** What a session needs. */
export interface RouteRequest extends AgentCriteria {
  readonly cluster: string;
  /** Another replica forwarded the session, so it is not forwarded again. */
  readonly forwarded: boolean;
  /** The dialer is in this process and cannot dial at another broker (default: false). */
  readonly isLocal?: boolean;
  /** A tunnel whose replica failed to take the session. */
  readonly except: AgentRecord | undefined;
}

interface Found {
  readonly route?: Route;
  /** What the directory answered; empty where it was not asked. */
  readonly records: readonly AgentRecord[];
}

/**
 * Finds the tunnel for a dialer's session: first among this broker's tunnels, then at other
 * replicas.
 */
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

  /** The broker has just started: agents of any cluster are expected in the next seconds. */
  expectAgents(): void {
    this.#returning.expectAll();
  }

  /** The tunnel table has a new tunnel. */
  onAgentConnected({ cluster }: AgentConnection): void {
    this.#returning.onAgentConnected(cluster);
  }

  /** A tunnel takes no new sessions any more. */
  onAgentLost({ cluster, key }: AgentConnection): void {
    for (const agent of this.#tunnels.of(cluster)) {
      if (agent.key !== key && !agent.leaving) return;
    }
    this.#returning.onAgentLost(cluster);
  }

  /** From now on, new sessions belong on other brokers. */
  drain(): void {
    this.#draining = true;
    this.#returning.wakeAll();
  }

  /**
   * Finds the route for a session: a tunnel here, else the replica that holds a tunnel, and a
   * retiring tunnel only where there is no other. With `process`, only a tunnel of that process. A
   * new session waits up to `relayLimits.agentReturnMs` for a cluster whose agents are likely to
   * return, or until `signal` aborts. A session that excludes agents does not wait, because its
   * dialer has an agent.
   *
   * @throws TunnelError `no_agent`; `agent_lost` the requested process is not connected but another
   *   agent is; `draining` for a new session of a dialer outside this process
   */
  async route(request: RouteRequest, signal: AbortSignal): Promise<Route> {
    const { cluster, process, excluded, forwarded, isLocal = false } = request;
    const mayDialElsewhere = process === undefined && !forwarded && !isLocal;
    const arrivedAtMs = this.#options.clock.now();
    for (;;) {
      if (this.#draining && mayDialElsewhere) {
        throw new TunnelError('draining', 'this broker is shutting down, dial again');
      }
      const { route, records } = await this.#find(request);
      if (route !== undefined) return route;
      const which = excluded === undefined ? 'no agent' : 'no other agent';
      const none = new TunnelError('no_agent', `${which} of cluster ${cluster} is connected`);
      // The replica that forwarded the session decides what to do next.
      if (forwarded || excluded !== undefined) throw none;
      if (process !== undefined) {
        throw this.#hasOtherAgents(cluster, process, records) ? agentLost(cluster, process) : none;
      }
      // The directory has a tunnel that its replica does not hold any more, so the agent was
      // connected a moment ago.
      const knownMs = records.length > 0 ? arrivedAtMs + relayLimits.agentReturnMs : -Infinity;
      const releasedAtMs = this.#options.directory.releasedAtMs(cluster);
      const elsewhereMs = releasedAtMs + relayLimits.agentReturnMs;
      const untilMs = Math.max(knownMs, elsewhereMs, this.#returning.untilMs(cluster));
      if (!(await this.#returning.wait(cluster, untilMs, signal))) throw none;
    }
  }

  async #find(request: RouteRequest): Promise<Found> {
    const { cluster, process, zone, forwarded, except } = request;
    // The tunnels here are known better here than in any directory.
    let local = this.#tunnels.choose(cluster, request);
    local ??= await this.#tunnels.chooseSoon(cluster, request);
    if (isFirstChoice(local, process)) return { route: toLocal(local), records: [] };
    const { directory, replica, forward } = this.#options;
    const records = await directory.locate(cluster);
    // A session may ask for the cluster's alias, while the tunnels here are known under its name.
    local ??= this.#tunnels.choose(records[0]?.cluster ?? cluster, request);
    if (isFirstChoice(local, process)) return { route: toLocal(local), records };
    // A session that excludes ordinary agents does not go to a standby agent in their place.
    const isExcluding = request.excluded !== undefined && records.some(({ standby }) => !standby);
    for (const record of forward === undefined || forwarded ? [] : byZone(records, zone)) {
      if (record.replica === replica) continue;
      if (except?.replica === record.replica && record.epoch <= except.epoch) continue;
      if (!isSuitable(record, request)) continue;
      if (record.retiring && (local !== undefined || process !== undefined)) continue;
      if (record.standby && (local !== undefined || isExcluding)) continue;
      return { route: { kind: 'remote', owner: record }, records };
    }
    return local === undefined ? { records } : { route: toLocal(local), records };
  }

  /**
   * Whether another agent is connected, here or elsewhere, so that a dialer need not wait for
   * `process`.
   */
  #hasOtherAgents(
    cluster: string,
    process: AgentProcess,
    records: readonly AgentRecord[],
  ): boolean {
    const own = { cluster: records[0]?.cluster ?? cluster, ...process };
    if (this.#tunnels.hasOtherAgents(own)) return true;
    return records.some(
      (record) =>
        record.replica !== this.#options.replica &&
        record.retiring !== true &&
        !isProcess(record, process),
    );
  }
}

function toLocal(agent: AgentConnection): Route {
  return { kind: 'local', agent };
}

/**
 * Whether no tunnel of another replica can be better. A new session does not go to a process that
 * may be dead.
 */
function isFirstChoice(
  agent: AgentConnection | undefined,
  process: AgentProcess | undefined,
): agent is AgentConnection {
  if (agent === undefined || agent.retiring) return false;
  return process !== undefined || (!agent.livenessPending && !agent.isStandby);
}

/** Records of agents in the zone come first. The order is otherwise kept. */
function byZone(records: readonly AgentRecord[], zone: string | undefined): readonly AgentRecord[] {
  if (zone === undefined) return records;
  const isNear = (record: AgentRecord): boolean => record.zone === zone && !record.retiring;
  return [...records.filter(isNear), ...records.filter((record) => !isNear(record))];
}

function agentLost(cluster: string, { agent }: AgentProcess): TunnelError {
  const sentence = `agent ${agent} is not connected, other agents of cluster ${cluster} are`;
  return new TunnelError('agent_lost', sentence);
}
