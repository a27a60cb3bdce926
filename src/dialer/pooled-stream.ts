import type { Clock } from '../base/clock.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { StreamRequest } from '../tunnel/stream-request.ts';
import type { AgentSession } from './agent-session.ts';
import type { ClusterAgents } from './cluster-agents.ts';
import type { OpenOptions } from './dialer.ts';
import { sessionWaits } from './session-waits.ts';
import { mayDifferElsewhere } from './unreachable-targets.ts';

const defaultTimeoutMs = 10_000;

/** What a stream needs of its dialer. */
export interface StreamOpener {
  /** The sessions with the cluster's agents. */
  readonly agents: (cluster: string) => ClusterAgents;
  readonly open: (session: AgentSession, request: StreamRequest, handler: StreamHandler) => Stream;
  /** Whether the dialer takes dials. */
  readonly isOpen: () => boolean;
  /** A dial is repeated at another agent. */
  readonly onSecondDial: () => void;
  readonly clock: Clock;
}

/**
 * A stream as the user of a pooled dialer sees it. It can change its stream in a session once,
 * during the dial. An agent that was lost before it answered, or that does not reach the target,
 * has connected to nothing for which a byte could be lost, so another agent can be asked.
 */
export class PooledStream implements TunnelStream, StreamHandler {
  readonly #opener: StreamOpener;
  /** Undefined after the dial, because many streams are open for hours. */
  #options: OpenOptions | undefined;
  readonly #handler: StreamHandler;
  readonly #startedMs: number;
  #session: AgentSession;
  #stream: Stream;
  /** When the present attempt was sent to an agent; undefined: it waits for the session. */
  #sentMs: number | undefined;
  /** Why the first agent did not reach the target. */
  #firstError: TunnelError | undefined;
  #mayDialAgain = true;

  constructor(opener: StreamOpener, options: OpenOptions, handler: StreamHandler) {
    this.#opener = opener;
    this.#options = options;
    this.#handler = handler;
    this.#startedMs = opener.clock.now();
    this.#session = opener.agents(options.cluster).choose(options.target);
    this.#stream = this.#dial(options, options.timeoutMs ?? defaultTimeoutMs);
    const { signal } = options;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get number(): number {
    return this.#stream.number;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#options !== undefined) this.#mayDialAgain = false;
    return this.#stream.write(bytes);
  }

  fin(): void {
    this.#mayDialAgain = false;
    this.#stream.fin();
  }

  reset(error: TunnelError): void {
    this.#mayDialAgain = false;
    this.#firstError = undefined;
    this.#stream.reset(error);
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  stopReceiving(): void {
    this.#mayDialAgain = false;
    this.#stream.stopReceiving();
  }

  onOpened(): void {
    const { cluster, target } = this.#options!;
    this.#endDial();
    const { agents, clock } = this.#opener;
    const tookMs = this.#sentMs === undefined ? undefined : clock.now() - this.#sentMs;
    agents(cluster).onDialed(this.#session, target, tookMs);
    this.#handler.onOpened?.();
  }

  onData(bytes: Uint8Array): void {
    this.#handler.onData(bytes);
  }

  onFin(): void {
    this.#handler.onFin();
  }

  onWritable(): void {
    this.#handler.onWritable();
  }

  onStop(): void {
    this.#handler.onStop?.();
  }

  onClose(error: TunnelError | undefined): void {
    const options = this.#options;
    if (options !== undefined && error !== undefined && this.#dialAgain(options, error)) return;
    this.#endDial();
    // Without an answer of a second agent, the answer of the first one is the result.
    const isAnswered = this.#firstError === undefined || this.#session.agent !== undefined;
    this.#handler.onClose(isAnswered ? error : this.#firstError);
  }

  readonly #onAbort = (): void => {
    const cause = this.#options?.signal?.reason as unknown;
    this.reset(new TunnelError('cancelled', 'the dial was aborted', { cause }));
  };

  #dial(options: OpenOptions, timeoutMs: number): Stream {
    const { target, caller, trace, share, isPatient } = options;
    const { clock, open } = this.#opener;
    this.#sentMs = this.#session.cluster.isAttached ? clock.now() : undefined;
    return open(this.#session, { target, timeoutMs, caller, trace, share, isPatient }, this);
  }

  /**
   * Starts the dial again if that loses nothing, within the time that is left. Returns whether it
   * did.
   */
  #dialAgain(options: OpenOptions, error: TunnelError): boolean {
    const { cluster, target, timeoutMs = defaultTimeoutMs } = options;
    const { agents, clock, isOpen } = this.#opener;
    if (this.#session.agent !== undefined && mayDifferElsewhere(error.code)) {
      agents(cluster).onFailed(this.#session, target, error.code);
    }
    const waitedMs = clock.now() - this.#startedMs;
    if (!this.#mayDialAgain || !isOpen() || (timeoutMs > 0 && waitedMs >= timeoutMs)) return false;
    const session = this.#sessionAfter(options, error, waitedMs);
    if (session === undefined) return false;
    this.#session = session;
    this.#stream = this.#dial(options, timeoutMs > 0 ? Math.ceil(timeoutMs - waitedMs) : 0);
    return true;
  }

  /** The session for another attempt; undefined: the error is the result of the dial. */
  #sessionAfter(
    { cluster, target }: OpenOptions,
    error: TunnelError,
    waitedMs: number,
  ): AgentSession | undefined {
    const agents = this.#opener.agents(cluster);
    if (this.#session.agent === undefined) {
      // The session gave up before it reached an agent. It may be older than this dial, which has
      // a wait of its own.
      const mayWait = isResumable(error.code) && waitedMs < sessionWaits.firstLinkMs;
      return mayWait ? agents.choose(target) : undefined;
    }
    let next: AgentSession | undefined;
    if (error.code === 'agent_lost') {
      next = agents.choose(target);
    } else if (mayDifferElsewhere(error.code)) {
      next = agents.other(this.#session, target);
      this.#firstError = error;
    }
    if (next === undefined) return undefined;
    this.#mayDialAgain = false;
    this.#opener.onSecondDial();
    return next;
  }

  #endDial(): void {
    this.#options?.signal?.removeEventListener('abort', this.#onAbort);
    this.#options = undefined;
  }
}
