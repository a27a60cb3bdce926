import { ValueError } from '../value-error.ts';

/** A host name or address (IPv6 without its brackets) and a port. Port 0 lets the system choose a port when listening. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A host and a port that may be left out. */
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

/** Whether only this machine can reach what listens on, or is at, `host`. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** `host:port`, with the brackets that an IPv6 address needs. */
export function formatHostPort({ host, port }: HostWithOptionalPort): string {
  const bracketed = host.includes(':') ? `[${host}]` : host;
  return port === undefined ? bracketed : `${bracketed}:${port}`;
}
