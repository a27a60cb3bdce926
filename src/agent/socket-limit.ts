import { connectionShare, openFileLimit } from '../base/server/open-file-limit.ts';
import { formatHostPort, type HostPort } from '../base/net/host-port.ts';
import { TunnelError } from '../tunnel/errors.ts';

const maxOpenFiles = openFileLimit();

/**
 * Sockets to targets that this process may have: three quarters of the descriptors that are not
 * reserved. The rest is for probes, files that are read again, tunnels and lookups.
 */
const maxTargetSockets = connectionShare(3 / 4, maxOpenFiles);

/**
 * Each dial has two sockets for certain: a lookup or an address, and a second address. More have to
 * ask `hasSocketRoom`.
 */
const socketsPerDial = 2;

/** Whether a dial may have a further socket, with so many open already. */
export function hasSocketRoom(openSockets: number): boolean {
  return openSockets < maxTargetSockets;
}

/** Why another dial is not begun; undefined: it may be. */
export function socketLimitProblem(
  target: HostPort,
  { connected, dialing }: { readonly connected: number; readonly dialing: number },
): TunnelError | undefined {
  if (connected + socketsPerDial * dialing < maxTargetSockets) return undefined;
  const sentence =
    `dial tcp ${formatHostPort(target)}: the agent has ${connected} connections to targets and ${dialing} dials, ` +
    `and may have ${maxTargetSockets} sockets for them (of ${maxOpenFiles} open files; raise ulimit -n, or run more agents)`;
  return new TunnelError('stream_limit', sentence);
}
