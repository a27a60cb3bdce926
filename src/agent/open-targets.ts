import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { UnacknowledgedWatch } from './unacknowledged-watch.ts';

/**
 * The connections to targets. A connection may outlast its stream, while the target still reads the last bytes, and an agent that
 * shuts down waits for it.
 */
export class OpenTargets {
  readonly #watch: UnacknowledgedWatch;
  readonly #sockets = new Set<Socket>();
  #waiters: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#watch = new UnacknowledgedWatch(clock);
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Counts a connected socket until it closes. `onDead` is called once if its peer is gone without a word. */
  add(socket: Socket, onDead: (silentMs: number) => void): void {
    this.#sockets.add(socket);
    this.#watch.add(socket, onDead);
    socket.once('close', () => this.#delete(socket));
  }

  /** Resolves when no connection is left, or when the signal aborts. */
  async closed(signal: AbortSignal): Promise<void> {
    if (this.#sockets.size === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
  }

  #delete(socket: Socket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size > 0) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
