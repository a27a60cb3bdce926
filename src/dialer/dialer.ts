import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { Target } from '../tunnel/stream-request.ts';

/**
 * Opens streams into clusters: the one thing that every client side uses, whether the broker is in this process or far away.
 */
export interface Dialer {
  /**
   * Opens a stream to `target` behind `cluster`. Returns at once; `handler.onOpened` follows when the agent has connected,
   * or `handler.onClose` with the reason (`no_agent` where nobody speaks for the cluster). `reset` before that cancels the
   * dial at the agent.
   *
   * @param timeoutMs how long the agent may take to connect, in milliseconds (default 10_000)
   */
  open(cluster: string, target: Target, handler: StreamHandler, timeoutMs?: number): TunnelStream;

  /** Stops taking new streams, waits for the open ones until `signal` aborts, then resets what is left. */
  drain(signal: AbortSignal): Promise<void>;
}
