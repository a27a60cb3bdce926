import type { ConnectionLimits } from '../../base/server/connection-limits.ts';
import { connectionShare } from '../../base/server/open-file-limit.ts';
import { defaultHttp2Limits, type Http2Limits } from '../../http2/http2-limits.ts';

/** All limits on a client of the gateway, and its timeouts. */
export interface GatewayServerLimits {
  /**
   * How long a TLS handshake, the head of a request, and the reading of a refusal by a client
   * without a valid credential may take, in milliseconds.
   */
  readonly headTimeoutMs: number;
  /** Bytes of a request's head over HTTP/1.1. A longer head gets a 431. */
  readonly maxHeadBytes: number;
  /**
   * Bytes of HTTP/1.1 that wait until the request before them is answered. A client that sends more
   * before the answer begins is closed. After that it has to wait.
   */
  readonly maxHeldBytes: number;
  /** Connections to the listener. They stay below the limit of open files. */
  readonly maxConnections: number;
  /** Connections that have not shown a credential which a server accepted. */
  readonly maxUnauthenticated: number;
  /** The same limit for one address (IPv6: one /64). Trusted proxies are exempt. */
  readonly maxUnauthenticatedPerAddress: number;
  /**
   * How long a client may send the rest of a body after the whole answer, in milliseconds. Then a
   * connection of HTTP/1.1 that has no other request is closed, and a stream of HTTP/2 is reset.
   */
  readonly answeredLingerMs: number;
  readonly http2: Omit<Http2Limits, 'answeredLingerMs'>;
  /**
   * How long a client of HTTP/2 may take, in milliseconds, to answer the first GOAWAY of a drain,
   * and to close its connection after the last one.
   */
  readonly goAwayTimeoutMs: number;
}

const maxHeadBytes = 48 * 1024;
const maxConnections = connectionShare(1 / 4);
const maxUnauthenticated = Math.max(2, Math.min(4096, Math.floor(maxConnections / 2)));

/**
 * There is no limit on the duration of bodies and on idle connections of authenticated clients, so
 * that watches and logs last. A client that does not read stalls its own server.
 */
export const defaultServerLimits: GatewayServerLimits = {
  headTimeoutMs: 32_000,
  maxHeadBytes,
  maxHeldBytes: 64 * 1024,
  maxConnections,
  maxUnauthenticated,
  maxUnauthenticatedPerAddress: Math.ceil(maxUnauthenticated / 2),
  answeredLingerMs: 2_000,
  http2: {
    ...defaultHttp2Limits,
    maxStreams: 250,
    maxRefusedStreams: 100,
    windowBytes: 256 * 1024,
    maxHeldBytes: 4 * 1024 * 1024,
    maxHeaderListBytes: maxHeadBytes,
    // A head that is a little too long costs its client one request, and not the connection.
    maxHeaderBlockBytes: 64 * 1024,
    resetBurst: 1000,
    resetsPerSecond: 100,
    controlBurst: 1000,
    controlsPerSecond: 100,
    maxUnsentBytes: 32 * 1024 * 1024,
  },
  goAwayTimeoutMs: 5_000,
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
