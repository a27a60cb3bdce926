import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { WindowBudget } from '../tunnel/window-budget.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { ClientShares } from './client-shares.ts';
import type { ResolveDestination } from './destination.ts';
import type { DialFailureReason } from './metrics.ts';
import type { BridgeLimits } from './options.ts';
import type { CertificateSubject } from '../konnectivity/certificate-subject.ts';
import type { PacketBufferPool } from '../konnectivity/packet-buffer.ts';
import type { PacketCounts } from '../konnectivity/packet-counts.ts';
import type { WriteTimes } from './write-times.ts';

/** A connection whose client has closed and whose target still takes what was written. */
export interface FlushingConnection {
  /** Resets the target. */
  endFlush(error: TunnelError): void;
}

/** State that all proxied connections of a bridge share, for any client protocol. */
export interface ConnectionContext {
  readonly limits: BridgeLimits;
  /** For bytes of clients whose targets take nothing. */
  readonly backlogBudget: WindowBudget;
  readonly clock: Clock;
  readonly log: Logger;
  /** A dial has succeeded after so many seconds. */
  readonly dialed: (seconds: number) => void;
  readonly dialFailed: (reason: DialFailureReason) => void;
  /** A connection between a client and its target has ended, which was open for so many seconds. */
  readonly connectionEnded: (seconds: number) => void;
  /** Connections by state. A connection is in one of these sets at most. */
  readonly pendingDials: Set<object>;
  readonly established: Set<object>;
  readonly flushing: Set<FlushingConnection>;
  /** A call or a connection has ended. */
  readonly onEnded: () => void;
}

/** State that all clients of a bridge share. */
export interface BridgeContext extends ConnectionContext {
  readonly resolve: ResolveDestination;
  /** The dialer with the rights of a client, by its certificate. */
  readonly dialerFor: (certificate: CertificateSubject | undefined) => Pick<Dialer, 'open'>;
  readonly shares: ClientShares;
  /** Every destination is in one cluster. */
  readonly isSingleCluster: boolean;
  readonly pool: PacketBufferPool;
  readonly packets: PacketCounts;
  readonly writeTimes: WriteTimes;
  /** Calls of gRPC clients that have not ended. */
  readonly calls: Set<object>;
  /** Connections of HTTP CONNECT clients that have sent their request and have not ended. */
  readonly httpConnections: Set<object>;
  /** The same of SOCKS 5 clients. */
  readonly socksConnections: Set<object>;
}
