import type { Welcome } from '../tunnel/message.ts';
import type { ClusterSession } from './cluster-session.ts';
import { dialLimits } from './dial-limits.ts';

/** A session with one agent, and how dials through it went. */
export class AgentSession {
  readonly cluster: ClusterSession;
  /** The session was made beside another one, to reach a further agent. */
  readonly isFurther: boolean;
  /** Names the agent's process within the cluster; undefined until a broker has named it. */
  agent: string | undefined;
  zone: string | undefined;
  /** It had no streams at the last check. */
  wasIdle = false;
  #dialMs: number | undefined;
  #avoidUntilMs = -Infinity;

  constructor(cluster: ClusterSession, isFurther: boolean) {
    this.cluster = cluster;
    this.isFurther = isFurther;
  }

  get streamCount(): number {
    return this.cluster.session.streamCount;
  }

  onAttached({ agent, instance, zone }: Welcome): void {
    this.agent = instance === undefined ? agent : `${agent}@${instance}`;
    this.zone = zone;
  }

  /** A dial was answered after this time, in milliseconds. */
  dialed(tookMs: number): void {
    const { latencyWeight } = dialLimits;
    this.#dialMs =
      this.#dialMs === undefined
        ? tookMs
        : (1 - latencyWeight) * this.#dialMs + latencyWeight * tookMs;
  }

  /** The agent is at a limit. */
  avoid(nowMs: number): void {
    this.#avoidUntilMs = nowMs + dialLimits.avoidMs;
  }

  isAvoided(nowMs: number): boolean {
    return nowMs < this.#avoidUntilMs;
  }

  /** How long a further stream has to wait, in comparison with other agents. */
  cost(zone: string | undefined): number {
    const { minDialMs, otherZoneFactor } = dialLimits;
    const dialMs = Math.max(minDialMs, this.#dialMs ?? minDialMs);
    const isNear = zone === undefined || zone === this.zone;
    return (this.streamCount + 1) * dialMs * (isNear ? 1 : otherZoneFactor);
  }
}
