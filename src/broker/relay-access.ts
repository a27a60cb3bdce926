import type { BrokerStatus } from './status.ts';
import type { TunnelName } from './tunnel-name.ts';

/**
 * What admission and the HTTP routes need to know of the broker that they guard. On Node that is
 * the `Relay`; a Worker on the edge holds no tunnels and answers for itself.
 */
export interface RelayAccess {
  /** The broker shuts down and takes no new clients. */
  readonly draining: boolean;
  /** Why no traffic should be sent to this broker, without names of clusters; undefined: ready. */
  readonly unready: string | undefined;
  /** Tunnels of a cluster, including tunnels whose agent has not sent HELLO yet. */
  tunnelCount(cluster: string): number;
  /** Links that a dialer has for its sessions with a cluster. */
  sessionCount(cluster: string, dialer: string): number;
  /**
   * Whether the agent's process has its other tunnel here. Each of its tunnels belongs on its own
   * replica.
   */
  holdsAnother(tunnel: TunnelName): boolean;
  status(): BrokerStatus;
}
