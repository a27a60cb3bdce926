import { once } from 'node:events';
import type { Server } from 'node:net';
import type { Logger } from '../log/logger.ts';
import type { HostPort } from '../net/host-port.ts';

/** The error codes of the kernel when IPv6 is disabled. */
const noIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/**
 * Listens at an address. `[::]` means every address of the machine, including IPv4. On a machine
 * without IPv6, it means every IPv4 address, with a warning. So one address works in all clusters.
 *
 * @throws Error the server cannot listen at the address, for example `EADDRINUSE`
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
    log.warn('IPv6 is not available, listening on IPv4 only', { asked: `[::]:${port}`, code });
    await listen(server, '0.0.0.0', port);
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  // Rejects when the server emits `error`.
  const listening = once(server, 'listening');
  server.listen(port, host);
  await listening;
}
