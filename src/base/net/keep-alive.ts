import type { Socket } from 'node:net';

const idleMs = 15_000;
const probeEveryMs = 15_000;
const probes = 9;

/**
 * Has the kernel ask the peer of an idle connection, as Go's programs do: after 15 s without traffic, then every 15 s; after nine probes without
 * an answer (two and a half minutes) the connection fails with ETIMEDOUT. Without this, a peer that is gone without a word is never noticed.
 */
export function keepAlive(socket: Socket): void {
  // Node alone would probe ten times within ten seconds, which a short outage does not survive. Its types lack the last two.
  const set: (enable: boolean, idle: number, interval: number, count: number) => Socket =
    socket.setKeepAlive.bind(socket);
  set(true, idleMs, probeEveryMs, probes);
}
