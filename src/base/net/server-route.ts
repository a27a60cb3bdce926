import type { ClientCertificate, Trust } from './connect-tls.ts';
import type { ProxyEnvironment } from './proxy-environment.ts';
import type { Proxy } from './proxy.ts';

/**
 * How to reach a server over HTTP (address, TLS, proxies), and the headers and certificate that it
 * receives.
 */
export interface ServerRoute {
  /** http://, https://, ws:// or wss:// */
  readonly url: URL;
  /** Headers of the request. They are never sent to a proxy. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * The User-Agent for the server and for an HTTP proxy (default: `culvert/<version>`). Firewalls
   * and proxies refuse requests without it.
   */
  readonly userAgent?: string | undefined;
  /** CA certificates in PEM that are trusted in addition to the well-known ones. */
  readonly ca?: string | undefined;
  /**
   * CA certificates in PEM that are trusted for an https:// proxy only, in addition to `ca` and the
   * well-known ones.
   */
  readonly proxyCa?: string | undefined;
  /** The name in the server's certificate, also sent as SNI (default: the URL's host). */
  readonly serverName?: string | undefined;
  /** The certificate for a server that asks for one. It is never shown to a proxy. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** The trusted CAs: `ca` and the well-known CAs (default), `ca` alone, or any server. */
  readonly trust?: Trust | undefined;
  /** The Host header (default: the URL's host and port). */
  readonly hostHeader?: string | undefined;
  /** Takes precedence over the proxies of the environment. */
  readonly proxy?: Proxy | undefined;
  /** The environment's proxies (default: none). */
  readonly proxies?: ProxyEnvironment | undefined;
  /**
   * Checks the headers of the answer (names in lower case). When it returns a problem, the
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
