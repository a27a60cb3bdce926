import type { ConnectionLimits } from '../../base/server/connection-limits.ts';
import { connectionShare } from '../../base/server/open-file-limit.ts';

/** All limits on a client of the gateway, and its timeouts. */
export interface GatewayServerLimits {
  /**
   * How long a TLS handshake, the head of a request, and the reading of a refusal by a client
   * without a valid credential may take, in milliseconds.
   */
  readonly headTimeoutMs: number;
  /** Bytes of a request's head. A longer head gets a 431. */
  readonly maxHeadBytes: number;
  /**
   * Bytes of HTTP/1.1 that wait until the request before them is answered. A client that sends more
   * ahead is closed.
   */
  readonly maxHeldBytes: number;
  /** Fields of a request's head over HTTP/2. A stream with more is reset. */
  readonly maxHeadFields: number;
  /** Connections to the listener. They stay below the limit of open files. */
  readonly maxConnections: number;
  /** Connections that have not shown a credential which a server accepted. */
  readonly maxUnauthenticated: number;
  /** The same limit for one address (IPv6: one /64). Trusted proxies are exempt. */
  readonly maxUnauthenticatedPerAddress: number;
  /** Requests of one HTTP/2 connection at the same time. */
  readonly maxStreamsPerConnection: number;
  /** HTTP/2 receive window of a request's body, and of all bodies of a connection, in bytes. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /**
   * What one HTTP/2 connection may hold in the process, in bytes: heads, dynamic tables, and answers
   * that the client has not read. Further streams are refused.
   */
  readonly maxMemoryPerConnectionBytes: number;
  /** Frames of HTTP/2 that are not valid. One more ends the connection. */
  readonly maxInvalidFramesPerConnection: number;
  /**
   * Streams of HTTP/2 beyond the limits: too many at the same time, or with too long a head. One
   * more ends the connection.
   */
  readonly maxRejectedStreamsPerConnection: number;
  /** How often connections are checked for streams with too long a head, in milliseconds. */
  readonly rejectedStreamsCheckIntervalMs: number;
  readonly maxSettingsPerFrame: number;
}

const maxConnections = connectionShare(1 / 4);
const maxUnauthenticated = Math.max(2, Math.min(4096, Math.floor(maxConnections / 2)));

/**
 * There is no limit on the duration of bodies and on idle connections of authenticated clients, so
 * that watches and logs last. A client that does not read stalls its own server.
 */
export const defaultServerLimits: GatewayServerLimits = {
  headTimeoutMs: 32_000,
  maxHeadBytes: 48 * 1024,
  maxHeldBytes: 64 * 1024,
  maxHeadFields: 1024,
  maxConnections,
  maxUnauthenticated,
  maxUnauthenticatedPerAddress: Math.ceil(maxUnauthenticated / 2),
  maxStreamsPerConnection: 250,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 1024 * 1024,
  maxMemoryPerConnectionBytes: 10e6,
  maxInvalidFramesPerConnection: 1000,
  maxRejectedStreamsPerConnection: 100,
  rejectedStreamsCheckIntervalMs: 250,
  maxSettingsPerFrame: 32,
};

export function connectionLimits(limits: GatewayServerLimits): ConnectionLimits {
  return {
    maxConnections: limits.maxConnections,
    maxUnauthenticated: limits.maxUnauthenticated,
    maxUnauthenticatedPerAddress: limits.maxUnauthenticatedPerAddress,
    requestTimeoutMs: limits.headTimeoutMs,
    // The server behind the agent may take any time for its answer.
    answerTimeoutMs: Infinity,
  };
}
