import type { HeaderList, HttpServer } from '../http-exchange/http-exchange.ts';
import { isNamed } from '../http-exchange/upgrade.ts';
import type { RequestRoute } from './request-url.ts';

/** Fields of a response that belong to one connection. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/**
 * The fields of a response for the client. A `Location` that stays on the server gets the prefix of
 * the gateway's URL, so that the client can follow it.
 *
 * @param host the Host header that the server has received
 */
export function responseHeaders(
  headers: HeaderList,
  route: RequestRoute,
  host: string,
): [name: string, value: string][] {
  const named = namedByConnection(headers);
  const kept: [string, string][] = [];
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || named?.has(lower) === true) continue;
    kept.push([name, lower === 'location' ? clientLocation(value, route, host) : value]);
  }
  return kept;
}

function namedByConnection(headers: HeaderList): Set<string> | undefined {
  let names: Set<string> | undefined;
  for (const [field, value] of headers) {
    if (!isNamed(field, 'connection')) continue;
    names ??= new Set();
    for (const name of value.split(',')) names.add(name.trim().toLowerCase());
  }
  // A server must not remove the length of its body.
  names?.delete('content-length');
  return names;
}

/**
 * A `Location` as the client can use it. A path gets the prefix. A URL of the server itself becomes
 * such a path. Relative references and other servers' URLs remain.
 */
function clientLocation(location: string, { prefix, server }: RequestRoute, host: string): string {
  if (location.startsWith('/') && !location.startsWith('//')) return prefix + location;
  const [, authority, rest] = /^(?:https?:)?\/\/([^/?#]*)(.*)$/i.exec(location) ?? [];
  if (authority === undefined || !isOwnAuthority(authority.toLowerCase(), server, host)) {
    return location;
  }
  return prefix + (rest!.startsWith('/') ? rest! : `/${rest!}`);
}

function isOwnAuthority(authority: string, server: HttpServer, host: string): boolean {
  if (authority === host.toLowerCase()) return true;
  const name = authority.replace(/:\d*$/, '');
  const [service, namespace] =
    server.kind === 'service' ? [server.name, server.namespace] : ['kubernetes', 'default'];
  const svc = `${service}.${namespace}.svc`;
  return name === svc || name === `${svc}.cluster.local`;
}
