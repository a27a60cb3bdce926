import { once } from 'node:events';
import type { Server } from 'node:net';
import type { Logger } from '../log/logger.ts';
import type { HostPort } from '../net/host-port.ts';

/** What the kernel says where IPv6 is switched off. */
const noIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/**
 * Listens at an address. `[::]` is every address of the machine, IPv4 too; on a machine without IPv6 it is every IPv4 address, with a warning. So one
 * address works in all clusters.
 *
 * @throws Error the address cannot be listened at, `EADDRINUSE` for example
 */
export async function listenAt(
  server: Server,
  { host, port }: HostPort,
  log: Logger,
): Promise<void> {
  try {
    await listen(server, host, port);
  } catch (thrown) {
    const { code = '' } = thrown as NodeJS.ErrnoException;
    if (host !== '::' || !noIpv6.has(code)) throw thrown;
    log.warn('there is no IPv6 here, IPv4 alone is listened at', { asked: `[::]:${port}`, code });
    await listen(server, '0.0.0.0', port);
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  // Rejects where the server says `error`.
  const listening = once(server, 'listening');
  server.listen(port, host);
  await listening;
}
