import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { defaultLimits, defaultProcessBudgetBytes, type TunnelLimits } from '../tunnel/limits.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { SlabPool } from '../tunnel/slab.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { ClusterSession } from './cluster-session.ts';
import type { Dialer, OpenOptions } from './dialer.ts';
import { type OpenStream, PooledStream } from './pooled-stream.ts';
import { noSessionMetrics, resumeGapBuckets, type SessionMetrics } from './session-metrics.ts';

export interface PooledDialerOptions {
  /**
   * Makes a link to a broker for a session with `cluster`.
   *
   * @throws TunnelError the reason why there is none, which ends every stream that waits for the link
   */
  readonly connect: (cluster: string, signal: AbortSignal) => Promise<AttachableLink>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly software: string;
  readonly limits?: TunnelLimits;
  readonly metrics?: SessionMetrics;
}

/** A dialer with one session per cluster, which the first stream makes and later streams share. */
export class PooledDialer implements Dialer, AsyncDisposable {
  /** How many times a session continued over another link, and how long their streams waited in sum, in milliseconds. */
  resumedCount = 0;
  resumeGapMs = 0;
  /** Bytes that were sent again then. */
  resentBytes = 0;
  readonly #options: PooledDialerOptions;
  readonly #pool = new SlabPool();
  readonly #budget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #grantBudget = new WindowBudget(defaultProcessBudgetBytes);
  readonly #current = new Map<string, ClusterSession>();
  readonly #sessions = new Set<ClusterSession>();
  readonly #observeGap: (gapSeconds: number) => void;
  #isDraining = false;

  constructor(options: PooledDialerOptions) {
    this.#options = options;
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
    this.#observeGap = metrics.histogram(
      'resume_gap_seconds',
      'How long the streams of a session waited before it continued',
      resumeGapBuckets,
    );
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  get streamCount(): number {
    let count = 0;
    for (const { session } of this.#sessions) count += session.streamCount;
    return count;
  }

  open(options: OpenOptions, handler: StreamHandler): TunnelStream {
    const openStream: OpenStream = (request, streamHandler) => {
      const { session } = this.#sessionFor(options.cluster);
      const stream = session.open(request, () => streamHandler);
      if (this.#isDraining) stream.reset(drainingError());
      return stream;
    };
    return new PooledStream(openStream, this.#options.clock, options, handler);
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

  #sessionFor(cluster: string): ClusterSession {
    const current = this.#current.get(cluster);
    if (current !== undefined && !current.isRetired) return current;
    // The old session keeps its streams, and ends with the last one.
    current?.retire();
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
      onClosed: (session) => {
        this.#sessions.delete(session);
        if (this.#current.get(cluster) === session) this.#current.delete(cluster);
      },
    });
    this.#sessions.add(made);
    this.#current.set(cluster, made);
    return made;
  }
}

function drainingError(): TunnelError {
  return new TunnelError('draining', 'this dialer is shutting down');
}
