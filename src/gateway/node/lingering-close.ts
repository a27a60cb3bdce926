import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../base/clock.ts';

/**
 * Ends a connection whose client may still send, so that the client gets the whole answer. A socket
 * that is closed with unread bytes makes the kernel send a reset, and a client that has not read the
 * answer loses it. So the gateway ends its own direction and reads on, until the client closes or
 * its time is over.
 */
export class LingeringClose {
  readonly #timer: Timer;

  /**
   * @param socket its owner drops what it receives, and destroys it when the client has closed
   * @param lingerMs until the socket is destroyed, however much the client still sends
   */
  constructor(socket: Socket, clock: Clock, lingerMs: number) {
    socket.end();
    socket.resume();
    this.#timer = clock.setTimer(lingerMs, () => socket.destroy());
  }

  /** The socket is closed. */
  cancel(): void {
    this.#timer.cancel();
  }
}
