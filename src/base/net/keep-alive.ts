import type { Socket } from 'node:net';

const idleMs = 15_000;
const probeEveryMs = 15_000;
const probes = 9;

/**
 * Makes the kernel probe the peer of an idle connection, as Go's programs do: after 15 s without
 * traffic, and then every 15 s. After nine probes without an answer (two and a half minutes) the
 * connection fails with ETIMEDOUT. Without probes, a peer that disappeared would never be noticed.
 */
export function keepAlive(socket: Socket): void {
  // Node's defaults probe ten times within ten seconds, so a short outage would end the connection.
  // Its types do not have the last two parameters.
  const set: (enable: boolean, idle: number, interval: number, count: number) => Socket =
    socket.setKeepAlive.bind(socket);
  set(true, idleMs, probeEveryMs, probes);
}
