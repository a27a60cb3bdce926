import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import { UnacknowledgedWatch } from './unacknowledged-watch.ts';

/**
 * The connections to targets. A connection may outlast its stream, while the target still reads the
 * last bytes, and an agent that shuts down waits for it.
 */
export class OpenTargets {
  readonly #watch: UnacknowledgedWatch;
  readonly #sockets = new Set<Socket>();
  readonly #isEmpty = new Condition(() => this.#sockets.size === 0);

  constructor(clock: Clock) {
    this.#watch = new UnacknowledgedWatch(clock);
  }

  get size(): number {
    return this.#sockets.size;
  }

  /**
   * Counts a connected socket until it closes. `onDead` is called once if its peer is gone without
   * a word.
   */
  add(socket: Socket, onDead: (silentMs: number) => void): void {
    this.#sockets.add(socket);
    this.#watch.add(socket, onDead);
    socket.once('close', () => this.#delete(socket));
  }

  /** Resolves when no connection is left, or when the signal aborts. */
  async closed(signal: AbortSignal): Promise<void> {
    await this.#isEmpty.wait(signal);
  }

  #delete(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#isEmpty.changed();
  }
}
