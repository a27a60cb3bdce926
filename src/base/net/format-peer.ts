import type { Socket } from 'node:net';
import { withoutMapping } from './address-group.ts';
import { formatHostPort } from './host-port.ts';

/**
 * The address of a peer, for logs. A listener at `[::]` sees IPv4 peers as `::ffff:10.0.0.1`; they
 * are shown as 10.0.0.1.
 */
export function formatPeer({
  remoteAddress = 'unknown',
  remotePort,
}: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return formatHostPort({ host: withoutMapping(remoteAddress), port: remotePort });
}
