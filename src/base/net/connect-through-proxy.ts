import { isIP, type Socket } from 'node:net';
import { formatHostPort, type HostPort } from './host-port.ts';
import type { Proxy } from './proxy.ts';
import type { Attempt } from './attempt.ts';
import { systemNames } from './name-resolver.ts';
import { openTcp, nameNotFound } from './open-tcp.ts';
import { connectTls, trustOf } from './connect-tls.ts';
import { askToConnect } from './http-connect.ts';
import { RouteError } from './route-error.ts';
import { askSocksToConnect } from './socks5.ts';

/** With `socks5://`, the largest number of addresses of a name to try, one after the other. */
const maxAddresses = 4;

export interface ProxyRoute {
  readonly proxy: Proxy;
  readonly destination: HostPort;
  /** CAs in PEM that are trusted for an https:// proxy only, in addition to the well-known CAs. */
  readonly cas: readonly (string | undefined)[];
  /** The User-Agent in CONNECT. Some proxies refuse a request without it. */
  readonly userAgent: string;
}

/**
 * Opens a connection through a proxy. No other function talks to proxies: WebSocket links and the
 * Kubernetes client use this one.
 *
 * @returns a connection to the destination on which nothing has been sent
 * @throws RouteError `dns`, `connect`, `tls`, `proxy`; or the signal's reason
 */
export async function connectThroughProxy(route: ProxyRoute, attempt: Attempt): Promise<Socket> {
  const { proxy, destination } = route;
  if (proxy.scheme !== 'socks5' || isIP(destination.host) !== 0) {
    return await connectTo(destination, route, attempt);
  }
  let failure: unknown;
  for (const host of await addressesOf(destination, attempt)) {
    try {
      return await connectTo({ host, port: destination.port }, route, attempt);
    } catch (thrown) {
      attempt.signal.throwIfAborted();
      failure ??= thrown;
      // The next address is tried only after the proxy refused this one. Any other error concerns
      // the proxy itself.
      if (!(thrown instanceof RouteError && thrown.code === 'proxy')) break;
    }
  }
  throw failure;
}

async function connectTo(
  destination: HostPort,
  { proxy, cas, userAgent }: ProxyRoute,
  attempt: Attempt,
): Promise<Socket> {
  const { progress, signal } = attempt;
  const what = `the proxy ${formatHostPort(proxy)}`;
  let socket = await openTcp(proxy, what, attempt);
  if (proxy.scheme === 'https') {
    const peer = { serverName: proxy.host, what, isProxy: true, isPinned: false };
    socket = await connectTls(socket, peer, trustOf(cas), attempt);
  }
  progress.step = `waiting for ${what} to connect to ${formatHostPort(destination)}`;
  if (proxy.scheme === 'http' || proxy.scheme === 'https') {
    await askToConnect(socket, proxy, destination, { what, userAgent, signal });
  } else {
    const { credentials } = proxy;
    await askSocksToConnect(socket, { what, credentials, destination, signal });
  }
  return socket;
}

async function addressesOf({ host }: HostPort, { progress, signal }: Attempt): Promise<string[]> {
  progress.step = `looking up the name ${host}`;
  try {
    const { addresses, late } = await systemNames.lookup(host, signal);
    const found = addresses.length > 0 ? addresses : ((await late) ?? []);
    return found.slice(0, maxAddresses);
  } catch (cause) {
    signal.throwIfAborted();
    throw nameNotFound(`${host} (socks5h:// lets the proxy resolve it)`, cause);
  }
}
