import type { ConnectionLimits } from '../../base/server/connection-limits.ts';

/**
 * Connections that may wait without a credential: a part of all connections, and at most this many.
 */
const unauthenticated = { part: 1 / 4, most: 4096 } as const;

/**
 * Limits on the connections of a broker's listener. The timeouts are for clients that have not
 * shown a credential. `AdmissionLimits` says how many connections one credential may have.
 */
export function brokerConnectionLimits(maxConnections: number): ConnectionLimits {
  const { part, most } = unauthenticated;
  const maxUnauthenticated = Math.min(most, Math.max(2, Math.floor(maxConnections * part)));
  return {
    maxConnections,
    maxUnauthenticated,
    maxUnauthenticatedPerAddress: Math.ceil(maxUnauthenticated / 2),
    requestTimeoutMs: 8_000,
    answerTimeoutMs: 15_000,
  };
}
