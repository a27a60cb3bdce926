import type { ConnectionLimits } from '../../base/server/connection-limits.ts';

/** Connections that may wait without a credential, by part of all and at most. */
const unauthenticated = { part: 1 / 4, most: 4096 } as const;

/**
 * Bounds on the connections of a broker's listener. Those of agents and dialers, which have shown a credential, are bounded by their
 * number alone; the limits of `AdmissionLimits` say how many one credential may have.
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
