import type { Socket } from 'node:net';
import type { HostPort } from './host-port.ts';
import type { Attempt } from './attempt.ts';
import { openTcp } from './open-tcp.ts';
import { connectThroughProxy } from './connect-through-proxy.ts';
import { connectTls, trustOf } from './connect-tls.ts';
import { RouteError } from './route-error.ts';
import type { ServerRoute } from './server-route.ts';

export type Route = Pick<
  ServerRoute,
  'url' | 'proxy' | 'ca' | 'proxyCa' | 'serverName' | 'clientCertificate' | 'trust'
> & { readonly userAgent: string };

/**
 * Opens the connection for the handshake. Depending on the route, it is TCP, a proxy's tunnel over
 * TCP, or TLS over either.
 *
 * @throws RouteError `dns`, `connect`, `proxy`, `tls`; or the signal's reason
 */
export async function openRoute(route: Route, attempt: Attempt): Promise<Socket> {
  const { url, proxy, ca, proxyCa, serverName, userAgent } = route;
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    const message = `a broker's URL begins with ws:// or wss://, not ${url.protocol}//`;
    throw new RouteError('connect', message);
  }
  const destination = hostPortOf(url);
  const socket =
    proxy === undefined
      ? await openTcp(destination, url.host, attempt)
      : await connectThroughProxy({ proxy, destination, cas: [ca, proxyCa], userAgent }, attempt);
  if (url.protocol === 'ws:') return socket;
  const own = trustOf([ca], route.trust, route.clientCertificate);
  const name = serverName ?? destination.host;
  const isPinned = route.trust === 'ca-only';
  const peer = { serverName: name, what: url.host, isProxy: false, isPinned };
  return await connectTls(socket, peer, own, attempt);
}

/** The host and port of a URL, with the default port of its scheme. */
export function hostPortOf(url: URL): HostPort {
  const isTls = url.protocol === 'wss:' || url.protocol === 'https:';
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port };
}
