import { type HostPort, parseHostPort } from '../base/net/host-port.ts';
import { ValueError } from '../base/value-error.ts';

/** An address to listen on. Without a host, it is every address of the machine. */
export type ListenAddress = Partial<Pick<HostPort, 'host'>> & Pick<HostPort, 'port'>;

/**
 * Reads `HOST:PORT` and Go's `:PORT`. `0` means nowhere, and so does undefined.
 *
 * @throws ValueError
 */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text === '0') return undefined;
  try {
    if (!text.startsWith(':')) return Object.freeze(parseHostPort(text));
    const { port } = parseHostPort(`every${text}`);
    return Object.freeze({ port });
  } catch {
    throw new ValueError('is not [HOST]:PORT (:58080, 127.0.0.1:58080), nor 0 for nowhere');
  }
}
