import type { Clock, Timer } from '../base/clock.ts';
import type { KonnectivityAgentsLimits } from './options.ts';
import type { AgentStream } from './agent-stream.ts';

export interface BacklogLimitOptions {
  readonly clock: Clock;
  readonly limits: KonnectivityAgentsLimits;
  readonly setPaused: (isPaused: boolean) => void;
  /** Whether the agent has more connections and dials than so many connections of stalled clients. */
  readonly hasOthers: (stalledCount: number) => boolean;
}

/**
 * Bounds the bytes that wait for the clients of one agent. Konnectivity's protocol has no flow
 * control for a connection, so an agent can only be held back as a whole, with all its connections.
 * That happens when a client leaves too many bytes unread. A client that does so for too long, while
 * the agent has other clients, loses its connection. A connection that the agent has closed brings
 * no more bytes, so its bytes count only among those of all clients.
 */
export class BacklogLimit {
  readonly #options: BacklogLimitOptions;
  /** Bytes of all streams. */
  bytes = 0;
  readonly #waiting = new Set<AgentStream>();
  #stalledTimer: Timer | undefined;

  constructor(options: BacklogLimitOptions) {
    this.#options = options;
  }

  /** More bytes wait for the client of `stream`. */
  add(stream: AgentStream, bytes: number): void {
    this.bytes += bytes;
    this.#waiting.add(stream);
    if (this.#stalledTimer !== undefined) return;
    if (!this.#isExceeded(stream) && this.bytes <= this.#options.limits.maxAgentBacklogBytes)
      return;
    this.#options.setPaused(true);
    this.#startTimer();
  }

  /** The client has taken the backlog of `stream`, or has left. */
  take(stream: AgentStream, bytes: number): void {
    this.bytes -= bytes;
    this.#waiting.delete(stream);
    this.changed();
  }

  /** The agent has closed a connection, or fewer bytes wait. */
  changed(): void {
    if (this.#stalledTimer === undefined || this.#stalled().length > 0) return;
    this.#stalledTimer.cancel();
    this.#stalledTimer = undefined;
    this.#options.setPaused(false);
  }

  /** The agent is gone. */
  close(): void {
    this.#stalledTimer?.cancel();
    this.#stalledTimer = undefined;
  }

  #startTimer(): void {
    const { clock, limits } = this.#options;
    this.#stalledTimer = clock.setTimer(limits.stalledReaderMs, () => this.#onStalled());
  }

  #isExceeded({ backlogBytes, isDraining }: AgentStream): boolean {
    return !isDraining && backlogBytes > this.#options.limits.maxStreamBacklogBytes;
  }

  /** The streams because of which the agent is not read. */
  #stalled(): AgentStream[] {
    const stalled = [...this.#waiting].filter((stream) => this.#isExceeded(stream));
    if (stalled.length > 0 || this.bytes <= this.#options.limits.maxAgentBacklogBytes)
      return stalled;
    const [largest] = [...this.#waiting].sort((a, b) => b.backlogBytes - a.backlogBytes);
    return largest === undefined ? [] : [largest];
  }

  #onStalled(): void {
    const { limits, hasOthers } = this.#options;
    // The ends of the streams below cancel it, if they suffice.
    this.#startTimer();
    const stalled = this.#stalled();
    // Alone with its agent, a client may pause as long as it likes.
    if (!hasOthers(stalled.filter(({ isDraining }) => !isDraining).length)) return;
    for (const stream of stalled) stream.resetStalled(limits.stalledReaderMs);
  }
}
