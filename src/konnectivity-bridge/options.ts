import { isLoopback } from '../base/net/host-port.ts';
import type { TlsPolicy } from '../base/tls/tls-policy.ts';
import { defaultFrontLimits, type FrontLimits } from '../konnectivity/front-limits.ts';
import type { TcpAddress } from '../konnectivity/front.ts';
import type { ShareOptions } from './client-shares.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { TlsFiles } from '../konnectivity/tls-files.ts';

/** The fronts and clusters of a bridge, as the command line's options give them. */
export interface BridgeFrontOptions {
  /** gRPC over TCP. Without TLS only on a loopback address. */
  readonly listen?: TcpAddress;
  /** gRPC over a Unix socket with mode 0770, for kube-apiserver's egress selector. */
  readonly udsPath?: string;
  /** SOCKS 5 over TCP. Without TLS only on a loopback address. */
  readonly socks5?: Socks5FrontOptions;
  /**
   * Certificate and key for all TCP addresses, and the CA of clients' certificates. All three or
   * none.
   */
  readonly tls?: TlsFiles;
  /** TLS versions and cipher suites for all TCP addresses. */
  readonly tlsPolicy?: TlsPolicy;
  /** Single-cluster mode: every destination is in this cluster. */
  readonly cluster?: string;
  /** How clients share the sessions with agents (default: equally, and without limits). */
  readonly shares?: ShareOptions;
}

export interface Socks5FrontOptions {
  readonly listen: TcpAddress;
  /** Refuses clients that show no token as user and password. */
  readonly requiresToken: boolean;
}

/** All limits on a client and all timeouts of the bridge. */
export interface BridgeLimits extends FrontLimits {
  /**
   * How long the agent may take to connect to a target, in milliseconds. A client waits
   * for 30 s.
   */
  readonly dialTimeoutMs: number;
  /**
   * How long after `dialTimeoutMs` the bridge answers in place of a silent dialer, in milliseconds.
   */
  readonly dialGraceMs: number;
  /**
   * How long a target's first bytes are held while the client sends nothing, in milliseconds: from
   * the client's answer to a PING behind DIAL_RSP, or from the answer to CONNECT. The Go client
   * drops bytes that come before it has registered the connection, which takes more than 50 ms on a
   * busy machine.
   */
  readonly holdMs: number;
  /**
   * How long a target has to take what a client wrote before its CLOSE_REQ, and to close, in
   * milliseconds. Then the connection is reset. The client does not wait for this.
   */
  readonly flushTimeoutMs: number;
  /** With more bytes queued for a client, its target's window is not given back. */
  readonly maxQueuedBytes: number;
}

export const defaultBridgeLimits: BridgeLimits = {
  ...defaultFrontLimits,
  dialTimeoutMs: 10_000,
  dialGraceMs: 5_000,
  holdMs: 150,
  flushTimeoutMs: 120_000,
  maxQueuedBytes: 256 * 1024,
};

/** @throws KonnectivityError `invalid_options` naming what is missing */
export function checkFrontOptions(options: BridgeFrontOptions): void {
  const { listen, socks5, udsPath, tls } = options;
  if (listen === undefined && socks5 === undefined && udsPath === undefined) {
    throw new KonnectivityError(
      'invalid_options',
      'the bridge has neither a TCP address nor a Unix socket to listen on',
    );
  }
  for (const address of [listen, socks5?.listen]) {
    if (address === undefined || tls !== undefined || isLoopback(address.host)) continue;
    throw new KonnectivityError(
      'invalid_options',
      `without a certificate, its key and a client CA the bridge listens on loopback only, not on ${address.host}`,
    );
  }
}
