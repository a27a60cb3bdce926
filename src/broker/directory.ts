/** A process of an agent. Two processes that run at the same time may have the same agent id. */
export interface AgentProcess {
  readonly agent: string;
  /**
   * Random, made when the process starts; undefined: an agent of culvert 0.1, which does not tell.
   */
  readonly instance?: string | undefined;
}

/** Names a process within its cluster. Neither agent ids nor instances contain `@`. */
export function processName({ agent, instance }: AgentProcess): string {
  return instance === undefined ? agent : `${agent}@${instance}`;
}

/**
 * Whether `process` is the wanted process. Without an instance, every process with that agent id is
 * wanted.
 */
export function isProcess(process: AgentProcess, wanted: AgentProcess): boolean {
  if (process.agent !== wanted.agent) return false;
  return wanted.instance === undefined || process.instance === wanted.instance;
}

/** What a session needs of the agent that it reaches. */
export interface AgentCriteria {
  /** The agent's process that has the session already. */
  readonly process?: AgentProcess | undefined;
  /** Processes that the session must not reach, as `processName` names them (default: none). */
  readonly excluded?: readonly string[] | undefined;
  /** The zone whose agents come first (default: no preference). */
  readonly zone?: string | undefined;
}

/** Whether a session may reach this process. */
export function isSuitable(of: AgentProcess, { process, excluded }: AgentCriteria): boolean {
  if (process !== undefined && !isProcess(of, process)) return false;
  return excluded === undefined || !excluded.includes(processName(of));
}

/** Whether both have the same agent id but are different processes. */
export function isOtherProcess(a: AgentProcess, b: AgentProcess): boolean {
  return a.agent === b.agent && a.instance !== b.instance;
}

/** A claim in the directory: this replica holds this tunnel of an agent. */
export interface AgentRecord extends AgentProcess {
  readonly cluster: string;
  /** 0 or 1: an agent keeps up to two tunnels, to different replicas. */
  readonly tunnel: number;
  /** The broker replica that holds the tunnel. */
  readonly replica: string;
  /**
   * Where other replicas reach that replica: `ws://` or `wss://`; empty: there are no other
   * replicas.
   */
  readonly address: string;
  /** The zone of the agent; undefined: the agent does not tell. */
  readonly zone?: string | undefined;
  /**
   * Orders claims of the same tunnel. The highest epoch wins, so an owner that has not noticed a
   * newer claim is known to be stale.
   */
  readonly epoch: number;
  /**
   * The replica gives the tunnel up, and the agent makes another one. Sessions use it only if they
   * find nothing else.
   */
  readonly retiring?: true;
  /** The agent gets new sessions only if its cluster has no other one. */
  readonly standby?: true;
}

export type AgentClaim = Omit<AgentRecord, 'epoch' | 'retiring'>;

/**
 * Knows which replica holds which tunnel. The relay asks it when a dialer's session begins, never
 * when bytes move. The contract suite is test/contracts/directory.contract.ts; every implementation
 * passes it.
 */
export interface Directory {
  /**
   * Claims a tunnel for a replica, until `release`. An older claim for the same tunnel of the same
   * process is fenced. While the directory's store is away the claim is valid here, and it is
   * stored later.
   */
  claim(agent: AgentClaim): Promise<AgentRecord>;

  /** Marks a claim as retiring: sessions find the tunnel after all others. Idempotent. */
  retire(claim: AgentRecord): Promise<void>;

  /** Releases a claim, unless there is a newer one. Idempotent. */
  release(claim: AgentRecord): Promise<void>;

  /**
   * Lists the tunnels of a cluster's agents: newest claim first, retiring tunnels after them, and
   * standby agents last; empty where the cluster is unknown.
   *
   * @param cluster a name, or an alias (see base/names/cluster-alias.ts); no cluster's name has the
   *   form of an alias
   */
  locate(cluster: string): Promise<readonly AgentRecord[]>;

  /**
   * When another replica last released a tunnel of the cluster, by the clock, as the last `locate`
   * has learned; -Infinity: unknown, or there are no other replicas.
   */
  releasedAtMs(cluster: string): number;

  /**
   * The replica of this record reports that it does not hold the tunnel, so cached routes of the
   * cluster are looked up again.
   */
  invalidate(record: AgentRecord): void;

  /** Calls `listener` when a claim made here is fenced by a newer claim. */
  onFenced(listener: (claim: AgentRecord) => void): void;

  /**
   * Calls `listener` with a claim made here when another replica claims a tunnel of another process
   * with the same agent id. That process may have replaced the process here.
   */
  onOtherProcess(listener: (claim: AgentRecord) => void): void;

  /** What does not work at the moment, as a sentence; undefined: everything works. */
  readonly degraded: string | undefined;

  /** Disconnects from the store, where claims made here expire by themselves. Idempotent. */
  close(): Promise<void>;
}

/** The order in which `locate` lists records. */
export function byPreference(a: AgentRecord, b: AgentRecord): number {
  if (a.standby !== b.standby) return a.standby === true ? 1 : -1;
  if (a.retiring !== b.retiring) return a.retiring === true ? 1 : -1;
  return b.epoch - a.epoch;
}
