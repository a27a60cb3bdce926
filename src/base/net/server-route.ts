import type { ClientCertificate, Trust } from './connect-tls.ts';
import type { ProxyEnvironment } from './proxy-environment.ts';
import type { Proxy } from './proxy.ts';

/** How a server is reached over HTTP, and what it is shown: address, TLS, proxies, headers. */
export interface ServerRoute {
  /** http://, https://, ws:// or wss:// */
  readonly url: URL;
  /** Sent in the request, and never to a proxy. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * Sent to the server and to an HTTP proxy (default: `culvert/<version>`). Firewalls and proxies
   * refuse requests without one.
   */
  readonly userAgent?: string | undefined;
  /** CA certificates in PEM that are trusted besides the well-known ones. */
  readonly ca?: string | undefined;
  /**
   * CA certificates in PEM that are trusted for an https:// proxy, and for nothing else, besides
   * `ca` and the well-known ones.
   */
  readonly proxyCa?: string | undefined;
  /** The name in the server's certificate, also sent as SNI (default: the URL's host). */
  readonly serverName?: string | undefined;
  /** Shown to the server, and not to a proxy, when it asks for one. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** What is trusted: `ca` besides the well-known CAs (default), `ca` alone, or any server. */
  readonly trust?: Trust | undefined;
  /** The Host header (default: the URL's host and port). */
  readonly hostHeader?: string | undefined;
  /** Takes precedence over the proxies of the environment. */
  readonly proxy?: Proxy | undefined;
  /** The environment's proxies (default: none). */
  readonly proxies?: ProxyEnvironment | undefined;
  /**
   * Returns what is wrong with the headers of the answer (names in small letters); then the
   * connection is closed.
   */
  readonly checkAnswer?: ((headers: ReadonlyMap<string, string>) => string | undefined) | undefined;
  /**
   * Receives the headers of every answer of the server (not of a proxy), and how long the answer
   * took in milliseconds.
   */
  readonly onAnswer?:
    | ((headers: ReadonlyMap<string, string>, elapsedMs: number) => void)
    | undefined;
}
