import type { Socket } from 'node:net';

/** What the steps of one attempt to connect share. */
export interface Attempt {
  /** Gets every socket that a step opens; whoever started the attempt destroys them when it fails. */
  readonly opened: Socket[];
  /** The step that is being done, for the message of a timeout: `timed out while ${step}`. */
  readonly progress: { step: string };
  /** Every step rejects with its reason. */
  readonly signal: AbortSignal;
}

/** Adds a socket to the attempt. Errors between two waits are seen by the next wait, because the socket is closed then. */
export function keepSocket(socket: Socket, { opened }: Attempt): void {
  opened.push(socket);
  socket.on('error', () => {});
}
