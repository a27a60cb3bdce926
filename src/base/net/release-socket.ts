import type { Socket } from 'node:net';
import { endStaticReads } from './static-reads.ts';

/**
 * Cuts a closed socket from all that listens to it. To be called from a 'close' listener. The other
 * 'close' listeners still run.
 *
 * Functions of Node that V8 has among its old objects lead to the socket, also when it is closed. So
 * it stays until a full collection. With its listeners, the socket would keep the whole state of its
 * connection, which the collections of young objects copy (docs/benchmarks.md, "Young functions in
 * old memory").
 */
export function releaseSocket(socket: Socket): void {
  socket.removeAllListeners();
  // A late error without a listener would end the process.
  socket.on('error', ignore);
  endStaticReads(socket);
}

function ignore(): void {}
