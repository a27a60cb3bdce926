import type { Socket } from 'node:net';

/** State that the steps of one attempt to connect share. */
export interface Attempt {
  /**
   * Receives every socket that a step opens. The caller that started the attempt destroys them when
   * it fails.
   */
  readonly opened: Socket[];
  /** The current step, for the message of a timeout: `timed out while ${step}`. */
  readonly progress: { step: string };
  /** Every step rejects with the reason of this signal. */
  readonly signal: AbortSignal;
}

/**
 * Adds a socket to the attempt. An error between two waits closes the socket, so the next wait
 * reports it.
 */
export function keepSocket(socket: Socket, { opened }: Attempt): void {
  opened.push(socket);
  socket.on('error', () => {});
}
