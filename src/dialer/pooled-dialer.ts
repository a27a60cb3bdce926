import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits, defaultProcessBudgetBytes, type TunnelLimits } from '../tunnel/limits.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { SlabPool } from '../tunnel/slab.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { type AgentSessionOptions, ClusterAgents } from './cluster-agents.ts';
import { ClusterSession } from './cluster-session.ts';
import type { Dialer, OpenOptions } from './dialer.ts';
import { PooledStream, type StreamOpener } from './pooled-stream.ts';
import { noSessionMetrics, resumeGapBuckets, type SessionMetrics } from './session-metrics.ts';
import { UnreachableTargets } from './unreachable-targets.ts';

export interface PooledDialerOptions {
  /**
   * Makes a link to a broker for a session with `cluster`.
   *
   * @throws TunnelError the reason why there is none, which ends every stream that waits for the
   *   link
   */
  readonly connect: (cluster: string, signal: AbortSignal) => Promise<AttachableLink>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly software: string;
  /** The zone of this dialer, whose agents it prefers (default: not known). */
  readonly zone?: string | undefined;
  readonly limits?: TunnelLimits;
  readonly metrics?: SessionMetrics;
}

/**
 * A dialer with one session per cluster, which the first stream makes and later streams share. Load
 * adds sessions with further agents of the cluster, see `ClusterAgents`.
 */
export class PooledDialer implements Dialer, AsyncDisposable {
  /**
   * How many times a session continued over another link, and how long their streams waited in sum,
   * in milliseconds.
   */
  resumedCount = 0;
  resumeGapMs = 0;
  /** Bytes that were sent again then. */
  resentBytes = 0;
  /** Dials that were repeated, at another agent or in another session. */
  secondDialCount = 0;
  readonly #options: PooledDialerOptions;
  readonly #pool = new SlabPool();
  readonly #budget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #grantBudget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #unreachable: UnreachableTargets;
  readonly #agents = new Map<string, ClusterAgents>();
  readonly #sessions = new Set<ClusterSession>();
  readonly #observeGap: (gapSeconds: number) => void;
  readonly #opener: StreamOpener;
  #isDraining = false;

  constructor(options: PooledDialerOptions) {
    this.#options = options;
    const { maxStreamNumber } = options.limits ?? defaultLimits;
    this.#unreachable = new UnreachableTargets(options.clock);
    this.#opener = {
      agents: (cluster) => this.#agentsOf(cluster),
      open: ({ cluster }, request, handler) => {
        const stream = cluster.session.open(request, () => handler);
        // A number is used once in a session.
        if (stream.number >= maxStreamNumber) cluster.retire();
        if (this.#isDraining) stream.reset(drainingError());
        return stream;
      },
      isOpen: () => !this.#isDraining,
      onSecondDial: () => void this.secondDialCount++,
      clock: options.clock,
    };
    const { metrics = noSessionMetrics } = options;
    metrics.total(
      'resumes',
      'Times that a session continued over another link',
      () => this.resumedCount,
    );
    metrics.total(
      'resent_bytes',
      'Bytes that a dialer sent again when a session continued',
      () => this.resentBytes,
    );
    metrics.total(
      'second_dials',
      'Dials that were repeated because the first agent was lost or did not reach the target',
      () => this.secondDialCount,
    );
    this.#observeGap = metrics.histogram(
      'resume_gap_seconds',
      'How long the streams of a session waited before it continued',
      resumeGapBuckets,
    );
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Clusters with sessions. */
  get clusterCount(): number {
    return this.#agents.size;
  }

  get streamCount(): number {
    let count = 0;
    for (const { session } of this.#sessions) count += session.streamCount;
    return count;
  }

  open(options: OpenOptions, handler: StreamHandler): TunnelStream {
    return new PooledStream(this.#opener, options, handler);
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#isDraining = true;
    const idle = Array.from(this.#sessions, ({ session }) => session.idle(signal));
    await Promise.allSettled(idle);
    this.close();
  }

  /** Ends every session now. Idempotent. */
  close(): void {
    this.#isDraining = true;
    const error = new TunnelError('link_lost', 'the dialer was closed');
    for (const session of this.#sessions) session.close(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #agentsOf(cluster: string): ClusterAgents {
    const known = this.#agents.get(cluster);
    if (known !== undefined) return known;
    const { clock, zone } = this.#options;
    const made: ClusterAgents = new ClusterAgents({
      ...{ cluster, zone, clock },
      unreachable: this.#unreachable,
      makeSession: (options) => {
        // Known only while it has sessions: clients may make up any number of clusters.
        this.#agents.set(cluster, made);
        return this.#makeSession(cluster, options);
      },
      onEmpty: () => {
        if (this.#agents.get(cluster) === made) this.#agents.delete(cluster);
      },
    });
    return made;
  }

  #makeSession(cluster: string, options: AgentSessionOptions): ClusterSession {
    const { clock, log, software, limits = defaultLimits } = this.#options;
    const made = new ClusterSession({
      clock,
      limits,
      software,
      connect: (signal) => this.#options.connect(cluster, signal),
      pool: this.#pool,
      budget: this.#budget,
      grantBudget: this.#grantBudget,
      log: log.child({ cluster }),
      onResumed: (gapMs, resentBytes) => {
        this.resumedCount++;
        this.resumeGapMs += gapMs;
        this.resentBytes += resentBytes;
        this.#observeGap(gapMs / 1000);
      },
      ...options,
      onClosed: (session) => {
        this.#sessions.delete(session);
        options.onClosed(session);
      },
    });
    this.#sessions.add(made);
    return made;
  }
}

function drainingError(): TunnelError {
  return new TunnelError('draining', 'this dialer is shutting down');
}
