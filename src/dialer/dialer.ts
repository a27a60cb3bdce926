import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { Caller, StreamShare, Target } from '../tunnel/stream-request.ts';

export interface OpenOptions {
  readonly cluster: string;
  readonly target: Target;
  /**
   * How long the agent may take to connect, in milliseconds (default 10_000; 0 leaves it to the
   * agent).
   */
  readonly timeoutMs?: number | undefined;
  /** The authenticated person or program for which the stream is opened (default: not known). */
  readonly caller?: Caller | undefined;
  /** A W3C `traceparent` (default: none). */
  readonly trace?: string | undefined;
  /** The share of the session that the stream may use (default: that of streams without one). */
  readonly share?: StreamShare | undefined;
  /**
   * The agent does not wait for the end of what the opener sends, so its FIN need not be sent at once
   * (default: false).
   */
  readonly isPatient?: boolean | undefined;
  /**
   * Cancels the dial. The stream then ends with code `cancelled`, and with the signal's reason as
   * the cause. An abort after `onOpened` has no effect.
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens streams into clusters. Every client uses this interface, whether the broker is in the same
 * process or far away.
 */
export interface Dialer {
  /**
   * Opens a stream to a target in a cluster and returns at once. `handler.onOpened` follows when
   * the agent has connected, or `handler.onClose` with the reason: `no_agent` if no agent of the
   * cluster is connected, see docs/errors.md for the others. `reset` before that cancels the dial.
   * If the agent is lost before it has answered, the dialer asks another agent once.
   */
  open(options: OpenOptions, handler: StreamHandler): TunnelStream;

  /** Opens no more streams, waits for the open ones until `signal` aborts, then resets the rest. */
  drain(signal: AbortSignal): Promise<void>;
}
