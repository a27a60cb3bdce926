import { type HostPort, parseHostPort } from '../base/net/host-port.ts';
import { ValueError } from '../base/value-error.ts';

/** Where to listen; without a host on every address of the machine. */
export type ListenAddress = Partial<Pick<HostPort, 'host'>> & Pick<HostPort, 'port'>;

/** Reads `HOST:PORT` and Go's `:PORT`; `0` is nowhere. Undefined is nowhere as well. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text === '0') return undefined;
  if (!text.startsWith(':')) return Object.freeze(parseHostPort(text));
  const { port } = parseHostPort(`every${text}`);
  return Object.freeze({ port });
}

export function isListenAddress(text: string): boolean {
  try {
    parseListenAddress(text);
    return true;
  } catch (thrown) {
    if (thrown instanceof ValueError) return false;
    throw thrown;
  }
}
