import { connectionShare } from '../base/server/open-file-limit.ts';

/** Limits on the clients of a listener, and its timeouts. */
export interface FrontLimits {
  /**
   * How long a connection may take for its TLS handshake, and again for the first HTTP/2 frame, in
   * milliseconds.
   */
  readonly handshakeTimeoutMs: number;
  /**
   * How long a client that does not speak HTTP/2 may keep its half of the connection open after it
   * was refused, in milliseconds.
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
  /**
   * HTTP/2 receive window of one call, in bytes (at least 65,535). A client whose target is slower
   * fills it, and the bytes then wait in the tunnel.
   */
  readonly windowBytes: number;
  /**
   * The window of a busy call, in bytes (see `BusyWindows`). One upload is 1.3 times as fast as with
   * `windowBytes`. Sixteen uploads with such windows would be slower, because they use so much
   * memory that it is never in the processor's caches.
   */
  readonly busyWindowBytes: number;
  /** Calls of one listener that may have the larger window at a time. At most four are busy. */
  readonly maxBusyWindows: number;
}

/**
 * A quarter of the file descriptors. Half is for agents and dialers in a broker's process, and for
 * links to brokers in a bridge's.
 */
const maxConnections = connectionShare(1 / 4);

export const defaultFrontLimits: FrontLimits = {
  handshakeTimeoutMs: 4_000,
  lingerMs: 5_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  maxStreamsPerConnection: 4096,
  maxConnections,
  maxHandshakes: Math.min(1024, Math.ceil(maxConnections / 4)),
  maxConnectionsPerAddress: Math.ceil(maxConnections / 2),
  windowBytes: 512 * 1024,
  busyWindowBytes: 2 * 1024 * 1024,
  maxBusyWindows: 64,
};
