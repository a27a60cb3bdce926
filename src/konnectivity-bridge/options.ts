import { connectionShare } from '../base/server/open-file-limit.ts';
import { isLoopback } from '../base/options/option-parsers.ts';
import type { TlsChoice } from '../base/tls/tls-policy.ts';
import { BridgeError } from './bridge-error.ts';

/** What a bridge is told about its fronts and its clusters; the command line's flags fill this in. */
export interface BridgeFrontOptions {
  /** gRPC over TCP. Without TLS only on a loopback address. */
  readonly listen?: TcpAddress;
  /** gRPC over a Unix socket, mode 0770: what kube-apiserver's egress selector dials. */
  readonly udsPath?: string;
  /** Certificate and key for `listen`, and the CA that clients must have a certificate of; all three or none. */
  readonly tls?: TlsFiles;
  /** Versions and cipher suites of that TLS. */
  readonly tlsChoice?: TlsChoice;
  /** Single-cluster mode: every destination, whatever its name, goes to this cluster. */
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

/** Every bound on a client and every time that the bridge waits, in one place. */
export interface BridgeLimits {
  /** How long the agent may take to connect to a target, in milliseconds. A client gives up after 30 s. */
  readonly dialTimeoutMs: number;
  /** How long after `dialTimeoutMs` the bridge answers in place of a dialer that says nothing, in milliseconds. */
  readonly dialGraceMs: number;
  /**
   * How long a target's first bytes are held after DIAL_RSP while the client says nothing, in milliseconds. The Go client drops
   * what comes before it has registered the connection, which on a starved machine takes it more than 50 ms.
   */
  readonly holdMs: number;
  /**
   * How long a target may take what a client wrote before its CLOSE_REQ, and close, in milliseconds. The client does not
   * wait for this; then the connection is reset.
   */
  readonly flushTimeoutMs: number;
  /** Bytes on their way to a client above which its target's window is not given back. */
  readonly maxQueuedBytes: number;
  /** How long a connection may take for its TLS handshake, and again for the first HTTP/2 frame, in milliseconds. */
  readonly handshakeTimeoutMs: number;
  /** How long a client may keep its half of a call open after our answer was complete, in milliseconds. */
  readonly lingerMs: number;
  /** How long a client with open calls may send nothing before it gets a PING, in milliseconds. */
  readonly pingIntervalMs: number;
  /** How long after the PING a client may go on sending nothing, in milliseconds. Then its connection is closed. */
  readonly pingTimeoutMs: number;
  /** Calls that one HTTP/2 connection may have open: a reusable tunnel has one per proxied connection. */
  readonly maxStreamsPerConnection: number;
  /** Connections to one listener. They stay below the limit of open files. */
  readonly maxConnections: number;
  /** Those of them whose TLS handshake, or first HTTP/2 frame, has not come. */
  readonly maxHandshakes: number;
  /** Connections of one address (IPv6: one /64). */
  readonly maxConnectionsPerAddress: number;
  /** HTTP/2 receive window of one call, in bytes. The whole connection has four times as much. */
  readonly windowBytes: number;
}

/** A quarter of the descriptors: agents and dialers have half in the process of a broker, and links to brokers in that of a bridge. */
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
  if (!options.listen && options.udsPath === undefined) {
    throw new BridgeError(
      'invalid_options',
      'the bridge has neither a TCP address nor a Unix socket to listen on',
    );
  }
  if (options.listen && !options.tls && !isLoopback(options.listen.host)) {
    throw new BridgeError(
      'invalid_options',
      `without a certificate, its key and a client CA the bridge listens on loopback only, not on ${options.listen.host}`,
    );
  }
}
