import { connectionShare } from '../base/server/open-file-limit.ts';
import { isLoopback } from '../base/net/host-port.ts';
import type { TlsPolicy } from '../base/tls/tls-policy.ts';
import { BridgeError } from './bridge-error.ts';

/** The fronts and clusters of a bridge, as the command line's options give them. */
export interface BridgeFrontOptions {
  /** gRPC over TCP. Without TLS only on a loopback address. */
  readonly listen?: TcpAddress;
  /** gRPC over a Unix socket with mode 0770, for kube-apiserver's egress selector. */
  readonly udsPath?: string;
  /** Certificate and key for `listen`, and the CA of clients' certificates. All three or none. */
  readonly tls?: TlsFiles;
  /** TLS versions and cipher suites for `listen`. */
  readonly tlsPolicy?: TlsPolicy;
  /** Single-cluster mode: every destination is in this cluster. */
  readonly cluster?: string;
}

export interface TcpAddress {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
}

/** All limits on a client and all timeouts of the bridge. */
export interface BridgeLimits {
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
   * How long a target's first bytes are held after DIAL_RSP while the client sends nothing, in
   * milliseconds. The Go client drops bytes that come before it has registered the connection,
   * which takes more than 50 ms on a busy machine.
   */
  readonly holdMs: number;
  /**
   * How long a target has to take what a client wrote before its CLOSE_REQ, and to close, in
   * milliseconds. Then the connection is reset. The client does not wait for this.
   */
  readonly flushTimeoutMs: number;
  /** With more bytes queued for a client, its target's window is not given back. */
  readonly maxQueuedBytes: number;
  /**
   * How long a connection may take for its TLS handshake, and again for the first HTTP/2 frame, in
   * milliseconds.
   */
  readonly handshakeTimeoutMs: number;
  /**
   * How long a client may keep its half of a call open after our answer was complete, in
   * milliseconds.
   */
  readonly lingerMs: number;
  /** How long a client with open calls may send nothing before it gets a PING, in milliseconds. */
  readonly pingIntervalMs: number;
  /**
   * How long a client may send nothing after the PING, in milliseconds. Then its connection is
   * closed.
   */
  readonly pingTimeoutMs: number;
  /** Open calls of one HTTP/2 connection. A reusable tunnel has a call per proxied connection. */
  readonly maxStreamsPerConnection: number;
  /** Connections to one listener. They stay below the limit of open files. */
  readonly maxConnections: number;
  /** Connections to one listener whose TLS handshake or first HTTP/2 frame has not come yet. */
  readonly maxHandshakes: number;
  /** Connections of one address (IPv6: one /64). */
  readonly maxConnectionsPerAddress: number;
  /** HTTP/2 receive window of one call, in bytes. The whole connection has four times as much. */
  readonly windowBytes: number;
}

/**
 * A quarter of the file descriptors. Half is for agents and dialers in a broker's process, and for
 * links to brokers in a bridge's.
 */
const maxConnections = connectionShare(1 / 4);

export const defaultBridgeLimits: BridgeLimits = {
  dialTimeoutMs: 10_000,
  dialGraceMs: 5_000,
  holdMs: 150,
  flushTimeoutMs: 120_000,
  maxQueuedBytes: 256 * 1024,
  handshakeTimeoutMs: 4_000,
  lingerMs: 5_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  maxStreamsPerConnection: 4096,
  maxConnections,
  maxHandshakes: Math.min(1024, Math.ceil(maxConnections / 4)),
  maxConnectionsPerAddress: Math.ceil(maxConnections / 2),
  windowBytes: 1024 * 1024,
};

/** @throws BridgeError `invalid_options` naming what is missing */
export function checkFrontOptions(options: BridgeFrontOptions): void {
  if (options.listen === undefined && options.udsPath === undefined) {
    throw new BridgeError(
      'invalid_options',
      'the bridge has neither a TCP address nor a Unix socket to listen on',
    );
  }
  if (
    options.listen !== undefined &&
    options.tls === undefined &&
    !isLoopback(options.listen.host)
  ) {
    throw new BridgeError(
      'invalid_options',
      `without a certificate, its key and a client CA the bridge listens on loopback only, not on ${options.listen.host}`,
    );
  }
}
