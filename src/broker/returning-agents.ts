import type { Clock } from '../base/clock.ts';
import { clusterAlias } from '../base/names/cluster-alias.ts';
import { relayLimits } from './relay-options.ts';

/**
 * Knows which clusters are likely to have an agent again soon, and holds the sessions that wait for
 * one. After a restart of the broker that is every cluster. Later it is a cluster whose last agent
 * was lost a moment ago.
 */
export class ReturningAgents {
  readonly #clock: Clock;
  #startedAtMs = -Infinity;
  /** By name and by alias, oldest first. */
  readonly #lostAtMs = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #waitingCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The broker has just started, so agents of any cluster may be on their way. */
  expectAll(): void {
    this.#startedAtMs = this.#clock.now();
  }

  /** The last agent of the cluster is gone. */
  onAgentLost(cluster: string): void {
    const nowMs = this.#clock.now();
    for (const [name, lostAtMs] of this.#lostAtMs) {
      if (nowMs - lostAtMs < relayLimits.agentReturnMs) break;
      this.#lostAtMs.delete(name);
    }
    this.#remember(cluster, nowMs);
    void clusterAlias(cluster).then((alias) => this.#remember(alias, nowMs));
  }

  /** Wakes the sessions that wait for an agent of the cluster. */
  onAgentConnected(cluster: string): void {
    for (const wake of this.#waiting.get(cluster) ?? []) wake();
  }

  /** Wakes all sessions. */
  wakeAll(): void {
    for (const cluster of this.#waiting.keys()) this.onAgentConnected(cluster);
  }

  /** Until when a session may wait for an agent of the cluster, by the clock. */
  untilMs(cluster: string): number {
    const lostAtMs = this.#lostAtMs.get(cluster) ?? -Infinity;
    return Math.max(this.#startedAtMs, lostAtMs) + relayLimits.agentReturnMs;
  }

  /**
   * Waits until it is worth looking for an agent again.
   *
   * @param cluster the name that the dialer uses
   * @returns false: the time is over, too many sessions wait already, or the signal has aborted
   */
  async wait(cluster: string, untilMs: number, signal: AbortSignal): Promise<boolean> {
    const leftMs = untilMs - this.#clock.now();
    if (leftMs <= 0 || this.#waitingCount >= relayLimits.maxWaitingSessions) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(cluster) ?? new Set();
    this.#waiting.set(cluster, waiting.add(resolve));
    this.#waitingCount++;
    // An agent that connects to another replica, or under a name whose alias is waited for, wakes
    // no session here.
    const timer = this.#clock.setTimer(Math.min(leftMs, relayLimits.agentReturnPollMs), resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
    await promise;
    timer.cancel();
    this.#waitingCount--;
    waiting.delete(resolve);
    if (waiting.size === 0) this.#waiting.delete(cluster);
    return !signal.aborted;
  }

  #remember(name: string, lostAtMs: number): void {
    this.#lostAtMs.delete(name);
    this.#lostAtMs.set(name, lostAtMs);
  }
}
