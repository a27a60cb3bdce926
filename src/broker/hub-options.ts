import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import type { AgentRecord, Directory } from './directory.ts';

/** Bounds on what a peer of the broker may make it hold or wait for. */
export const hubLimits = {
  /** The first frame must come within this, in milliseconds. */
  helloTimeoutMs: 10_000,
  /**
   * Bytes that may wait for one link beyond its room. Credit bounds them already; a peer that gets here breaks the credit
   * of its session, and its link is closed.
   */
  maxBacklogBytes: 128 * 1024 * 1024,
} as const;

/** @throws TunnelError why the owner cannot be reached */
export type Forward = (
  owner: AgentRecord,
  dialer: { readonly cluster: string; readonly name: string },
) => Promise<AttachableLink>;

export interface HubOptions {
  /** Names this broker among its replicas. */
  readonly replica: string;
  readonly directory: Directory;
  /** Where other replicas reach this one; empty where there are none. */
  readonly address: string;
  /** Makes a link for a dialer's session to the replica that holds the agent; undefined where there are no others. */
  readonly forward?: Forward;
  readonly clock: Clock;
  readonly log: Logger;
}
