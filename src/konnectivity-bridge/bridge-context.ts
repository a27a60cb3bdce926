import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { Connection } from './connection.ts';
import type { ResolveDestination } from './destination.ts';
import type { DialFailureReason } from './metrics.ts';
import type { BridgeLimits } from './options.ts';
import type { TurnFlusher } from './packet-writer.ts';
import type { ProxyStream } from './proxy-stream.ts';
import type { PacketBufferPool } from './packet-buffer.ts';

/** What all calls of one bridge share. */
export interface BridgeContext {
  readonly dialer: Dialer;
  readonly resolve: ResolveDestination;
  readonly limits: BridgeLimits;
  readonly pool: PacketBufferPool;
  readonly turn: TurnFlusher;
  readonly clock: Clock;
  readonly log: Logger;
  readonly dialFailed: (reason: DialFailureReason) => void;
  /** Calls that are not over. */
  readonly calls: Set<ProxyStream>;
  /** Connections by what they are doing; each is in one of these at most. */
  readonly pendingDials: Set<Connection>;
  readonly established: Set<Connection>;
  readonly flushing: Set<Connection>;
  /** A call or a connection is over. */
  readonly onLeft: () => void;
}
