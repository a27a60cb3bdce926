import type { Clock } from '../base/clock.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';
import { type Target, targetName } from '../tunnel/stream-request.ts';
import { dialLimits } from './dial-limits.ts';

/** The agent is at its limit, so that any target may fail. */
const aboutAgent: ReadonlySet<TunnelErrorCode> = new Set([
  'dial_failed',
  'stream_limit',
  'overloaded',
]);

/**
 * The agent's network, names or rules do not lead to the target, so that another agent may reach
 * it. `refused` is an answer of the target itself, which every agent would get.
 */
const aboutPath: ReadonlySet<TunnelErrorCode> = new Set([
  'unreachable',
  'dns',
  'timeout',
  'forbidden_target',
  'unsupported_target',
]);

/** Whether a dial that failed with this code is worth a try at another agent. */
export function mayDifferElsewhere(code: TunnelErrorCode): boolean {
  return aboutAgent.has(code) || aboutPath.has(code);
}

/** Whether the failure is about the agent, and not about the way to the target. */
export function isAboutAgent(code: TunnelErrorCode): boolean {
  return aboutAgent.has(code);
}

/** Remembers for a while which agents do not reach which targets. */
export class UnreachableTargets {
  readonly #clock: Clock;
  /** The end of each memory, by the clock, oldest first. */
  readonly #untilMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param agent names the agent's process within the cluster */
  add(cluster: string, agent: string, target: Target): void {
    const key = keyOf(cluster, agent, target);
    this.#untilMs.delete(key);
    this.#untilMs.set(key, this.#clock.now() + dialLimits.unreachableMs);
    if (this.#untilMs.size <= dialLimits.maxUnreachable) return;
    const [oldest] = this.#untilMs.keys();
    this.#untilMs.delete(oldest!);
  }

  /** The agent has reached the target. */
  delete(cluster: string, agent: string, target: Target): void {
    if (this.#untilMs.size > 0) this.#untilMs.delete(keyOf(cluster, agent, target));
  }

  has(cluster: string, agent: string, target: Target): boolean {
    if (this.#untilMs.size === 0) return false;
    const untilMs = this.#untilMs.get(keyOf(cluster, agent, target));
    return untilMs !== undefined && untilMs > this.#clock.now();
  }
}

function keyOf(cluster: string, agent: string, target: Target): string {
  return `${cluster} ${agent} ${targetName(target)}`;
}
