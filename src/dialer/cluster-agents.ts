import type { Clock, Timer } from '../base/clock.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';
import type { Hello, Welcome } from '../tunnel/message.ts';
import type { Target } from '../tunnel/stream-request.ts';
import { AgentSession } from './agent-session.ts';
import type { ClusterSession, ClusterSessionOptions } from './cluster-session.ts';
import { dialLimits } from './dial-limits.ts';
import { isAboutAgent, type UnreachableTargets } from './unreachable-targets.ts';

/** The parts of a session that depend on the agents of its cluster. */
export type AgentSessionOptions = Required<
  Pick<ClusterSessionOptions, 'criteria' | 'onAttached' | 'onClosed'>
>;

export interface ClusterAgentsOptions {
  readonly cluster: string;
  /** The zone of this dialer (default: not known). */
  readonly zone: string | undefined;
  readonly clock: Clock;
  readonly unreachable: UnreachableTargets;
  readonly makeSession: (options: AgentSessionOptions) => ClusterSession;
  /** No session takes new streams any more. */
  readonly onEmpty: () => void;
}

/**
 * A dialer's sessions with the agents of one cluster, one for each agent. The first stream makes
 * the first session. Further sessions are made when there is load, or when an agent does not reach
 * a target. A stream stays in its session.
 */
export class ClusterAgents {
  readonly #options: ClusterAgentsOptions;
  /** The sessions that take new streams, oldest first. */
  readonly #sessions = new Set<AgentSession>();
  /** The broker knows how to exclude agents: it told how many others there are. */
  #mayAsk = false;
  /** When the broker may be asked for a further agent again, by the clock. */
  #askAtMs = -Infinity;
  #idleTimer: Timer | undefined;

  constructor(options: ClusterAgentsOptions) {
    this.#options = options;
  }

  /** The session for a new stream. Opens a session with a further agent if there is load. */
  choose(target: Target): AgentSession {
    this.#retireSessions();
    const attached = this.#attached();
    if (attached.length === 0) return this.#firstSession();
    const chosen = this.#best(attached, target)!;
    const isLoaded = attached.every(
      ({ streamCount }) => streamCount >= dialLimits.spreadFromStreams,
    );
    if (isLoaded) this.#furtherSession();
    return chosen;
  }

  /**
   * A session with another agent, for a dial that failed at one. Undefined: there is no other
   * agent, or all known agents have failed to reach the target.
   */
  other(than: AgentSession, target: Target): AgentSession | undefined {
    this.#retireSessions();
    const others = this.#attached().filter((session) => session !== than);
    const best = this.#best(
      others.filter((session) => !this.#isUnreachable(session, target)),
      target,
    );
    if (best !== undefined || than.agent === undefined) return best;
    return this.#furtherSession();
  }

  /**
   * A dial was answered by the agent of the session.
   *
   * @param tookMs undefined: the dial waited for the session
   */
  onDialed(session: AgentSession, target: Target, tookMs: number | undefined): void {
    const { cluster, unreachable } = this.#options;
    if (tookMs !== undefined) session.dialed(tookMs);
    if (session.agent !== undefined) unreachable.delete(cluster, session.agent, target);
  }

  /** A dial failed at the agent of the session, with a code that may differ elsewhere. */
  onFailed(session: AgentSession, target: Target, code: TunnelErrorCode): void {
    const { cluster, clock, unreachable } = this.#options;
    if (isAboutAgent(code)) session.avoid(clock.now());
    else if (session.agent !== undefined) unreachable.add(cluster, session.agent, target);
  }

  #attached(): AgentSession[] {
    return [...this.#sessions].filter(({ cluster }) => cluster.isAttached);
  }

  /** Sessions that take no new streams keep those that they have, and end with the last one. */
  #retireSessions(): void {
    for (const session of this.#sessions) {
      if (session.cluster.isRetired) this.#retire(session);
    }
  }

  #retire(session: AgentSession): void {
    this.#sessions.delete(session);
    session.cluster.retire();
    this.#watchIdle();
  }

  #best(sessions: readonly AgentSession[], target: Target): AgentSession | undefined {
    const { clock, zone } = this.#options;
    const nowMs = clock.now();
    let best: AgentSession | undefined;
    let leastRank = Infinity;
    let leastCost = Infinity;
    for (const session of sessions) {
      const rank = this.#isUnreachable(session, target) ? 2 : session.isAvoided(nowMs) ? 1 : 0;
      const cost = session.cost(zone);
      if (rank > leastRank || (rank === leastRank && cost >= leastCost)) continue;
      [best, leastRank, leastCost] = [session, rank, cost];
    }
    return best;
  }

  #isUnreachable({ agent }: AgentSession, target: Target): boolean {
    const { cluster, unreachable } = this.#options;
    return agent !== undefined && unreachable.has(cluster, agent, target);
  }

  /** A session that waits for its first link, or a new one. */
  #firstSession(): AgentSession {
    for (const session of this.#sessions) if (!session.isFurther) return session;
    return this.#make(false);
  }

  /** Undefined: there is none, or a broker said so a moment ago. */
  #furtherSession(): AgentSession | undefined {
    for (const session of this.#sessions) {
      if (session.isFurther && !session.cluster.isAttached) return session;
    }
    const isFull = this.#sessions.size >= dialLimits.maxAgents;
    if (!this.#mayAsk || isFull || this.#options.clock.now() < this.#askAtMs) return undefined;
    return this.#make(true);
  }

  #make(isFurther: boolean): AgentSession {
    const { makeSession, onEmpty } = this.#options;
    const made: AgentSession = new AgentSession(
      makeSession({
        criteria: () => this.#criteria(isFurther),
        onAttached: (welcome) => this.#onAttached(made, welcome),
        onClosed: () => {
          this.#sessions.delete(made);
          if (isFurther && made.agent === undefined) this.#askLater();
          this.#watchIdle();
          if (this.#sessions.size === 0) onEmpty();
        },
      }),
      isFurther,
    );
    this.#sessions.add(made);
    this.#watchIdle();
    return made;
  }

  #criteria(isFurther: boolean): Pick<Hello, 'zone' | 'excludedAgents'> {
    const { zone } = this.#options;
    const excludedAgents = [...this.#sessions].flatMap(({ agent }) => agent ?? []);
    return {
      ...(zone === undefined ? {} : { zone }),
      ...(isFurther ? { excludedAgents } : {}),
    };
  }

  #onAttached(session: AgentSession, welcome: Welcome): void {
    session.onAttached(welcome);
    this.#mayAsk = welcome.otherAgents !== undefined;
    if (welcome.otherAgents === 0) this.#askLater();
    else if (!session.isFurther) this.#askAtMs = -Infinity;
    for (const other of this.#sessions) {
      if (other === session || other.agent !== session.agent) continue;
      // One of two sessions with the same agent is enough.
      this.#askLater();
      return this.#retire(session);
    }
  }

  #askLater(): void {
    this.#askAtMs = this.#options.clock.now() + dialLimits.askAgainMs;
  }

  /** Further sessions end when they are idle; the timer runs only while there are some. */
  #watchIdle(): void {
    if (this.#sessions.size < 2) {
      this.#idleTimer?.cancel();
      this.#idleTimer = undefined;
      return;
    }
    this.#idleTimer ??= this.#options.clock.setTimer(dialLimits.idleMs, () => {
      this.#idleTimer = undefined;
      this.#endIdle();
      this.#watchIdle();
    });
  }

  #endIdle(): void {
    for (const session of [...this.#sessions].toReversed()) {
      const isIdle = session.streamCount === 0;
      if (isIdle && session.wasIdle && this.#sessions.size > 1) this.#retire(session);
      session.wasIdle = isIdle;
    }
  }
}
