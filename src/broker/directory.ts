/** A process of an agent. Two that run at the same time may have the same id. */
export interface AgentProcess {
  readonly agent: string;
  /** Random, made when the process starts; undefined: an agent that does not tell (culvert 0.1). */
  readonly instance?: string | undefined;
}

/** Names a process within its cluster. Neither ids nor instances contain `@`. */
export function processName({ agent, instance }: AgentProcess): string {
  return instance === undefined ? agent : `${agent}@${instance}`;
}

/** Whether `process` is the wanted one; who wants no instance in particular takes any with that id. */
export function isProcess(process: AgentProcess, wanted: AgentProcess): boolean {
  if (process.agent !== wanted.agent) return false;
  return wanted.instance === undefined || process.instance === wanted.instance;
}

/** Whether both have the same id but are not the same process. */
export function isOtherProcess(a: AgentProcess, b: AgentProcess): boolean {
  return a.agent === b.agent && a.instance !== b.instance;
}

/** One tunnel of an agent, as the directory knows it: who holds it, and which of several claims is the newest. */
export interface AgentRecord extends AgentProcess {
  readonly cluster: string;
  /** An agent keeps up to two tunnels, to different replicas: 0 and 1. */
  readonly tunnel: number;
  /** The broker replica that holds the tunnel. */
  readonly replica: string;
  /** Where other replicas reach that one: `ws://` or `wss://`; empty where there are no others. */
  readonly address: string;
  /** Higher wins: a tunnel that is made again raises it, so an owner that has not noticed yet is known to be stale. */
  readonly epoch: number;
  /** The replica is about to give the tunnel up, and its agent makes another: only who finds nothing else uses it. */
  readonly retiring?: true;
}

export type AgentClaim = Omit<AgentRecord, 'epoch' | 'retiring'>;

/**
 * Who holds which cluster's tunnels. The contract suite is test/contracts/directory.contract.ts; every implementation
 * passes it. A directory is asked when a dialer's session begins, never when bytes move.
 */
export interface Directory {
  /**
   * Says that `replica` holds this tunnel from now on, until `release`; an older claim for the same tunnel of the same process
   * is fenced out. Where the directory's store is away the claim stands here, and is made there when it is back.
   */
  claim(agent: AgentClaim): Promise<AgentRecord>;

  /** Says that the tunnel of this claim is being given up: it is still found, after those that stay. Idempotent. */
  retire(claim: AgentRecord): Promise<void>;

  /** Takes a claim back, unless a newer one stands. Idempotent. */
  release(claim: AgentRecord): Promise<void>;

  /**
   * The tunnels of the agents that speak for a cluster, newest claim first, those that retire last; none where it is unknown.
   *
   * @param cluster its name, or its alias (see base/names/cluster-alias.ts); what has the form of an alias is never the name of a cluster
   */
  locate(cluster: string): Promise<readonly AgentRecord[]>;

  /**
   * When a tunnel of the cluster was given up last at another replica, by the clock, as `locate` has just learnt; -Infinity: not known, or
   * there are no other replicas.
   */
  releasedAtMs(cluster: string): number;

  /** The replica of this record says that it does not hold the tunnel: what is cached of its cluster is looked up anew. */
  invalidate(record: AgentRecord): void;

  /** Calls `listener` when a claim made here is fenced out by a newer one made elsewhere. */
  onFenced(listener: (claim: AgentRecord) => void): void;

  /**
   * Calls `listener` with a claim made here when another replica claims a tunnel of another process with the same agent id: that
   * process may have taken the place of the one here.
   */
  onOtherProcess(listener: (claim: AgentRecord) => void): void;

  /** What does not work at the moment, in a sentence; undefined while all is well. */
  readonly degraded: string | undefined;

  /** Lets go of the store; claims made here expire there by themselves. Idempotent. */
  close(): Promise<void>;
}

/** The order in which `locate` lists records. */
export function byPreference(a: AgentRecord, b: AgentRecord): number {
  if (a.retiring !== b.retiring) return a.retiring === true ? 1 : -1;
  return b.epoch - a.epoch;
}
