import { ValueError } from '../value-error.ts';

/**
 * A host name or address (IPv6 without brackets) and a port. With port 0, a listener lets the
 * system choose the port.
 */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A host and an optional port. */
export interface HostWithOptionalPort {
  readonly host: string;
  readonly port: number | undefined;
}

export function parseHostPort(text: string): HostPort {
  const { host, port } = parseHostWithOptionalPort(text);
  if (port === undefined) throw new ValueError('needs a port (127.0.0.1:8080, [::1]:8080)');
  return { host, port };
}

export function parseHostWithOptionalPort(text: string): HostWithOptionalPort {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  if (host === undefined) {
    throw new ValueError('is not HOST:PORT (127.0.0.1:8080, [::1]:8080, name:443)');
  }
  const port = parts?.[3] === undefined ? undefined : Number(parts[3]);
  if (port !== undefined && port > 65_535) throw new ValueError('has a port above 65535');
  return { host, port };
}

/** Whether `host` is reachable only from this machine. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatHostPort({ host, port }: HostWithOptionalPort): string {
  const bracketed = host.includes(':') ? `[${host}]` : host;
  return port === undefined ? bracketed : `${bracketed}:${port}`;
}
