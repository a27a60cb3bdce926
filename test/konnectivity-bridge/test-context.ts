import { maxBacklogBytesOfAll } from '../../src/konnectivity-bridge/target-writer.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import type { Logger } from '../../src/base/log/logger.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { Dialer } from '../../src/dialer/dialer.ts';
import { PacketBufferPool } from '../../src/konnectivity/packet-buffer.ts';
import { PacketCounts } from '../../src/konnectivity/packet-counts.ts';
import type { BridgeContext } from '../../src/konnectivity-bridge/bridge-context.ts';
import { ClientShares } from '../../src/konnectivity-bridge/client-shares.ts';
import { destinationResolver } from '../../src/konnectivity-bridge/destination.ts';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { WriteTimes } from '../../src/konnectivity-bridge/write-times.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

export interface TestContext extends BridgeContext {
  readonly clock: VirtualClock;
  /** The reasons of failed dials. */
  readonly failures: string[];
  /** How long connections were open, and how long measured writes took. */
  readonly durationsSeconds: number[];
  readonly writesSeconds: number[];
}

/** The shared state of a bridge without listeners, on a virtual clock. */
export function testContext(
  dialer: Dialer,
  { cluster, log = silentLogger }: { cluster?: string; log?: Logger } = {},
): TestContext {
  const failures: string[] = [];
  const durationsSeconds: number[] = [];
  const writesSeconds: number[] = [];
  const clock = new VirtualClock();
  return {
    dialerFor: () => dialer,
    resolve: destinationResolver({ ...(cluster !== undefined && { cluster }) }),
    isSingleCluster: cluster !== undefined,
    limits: defaultBridgeLimits,
    pool: new PacketBufferPool(),
    packets: new PacketCounts(),
    backlogBudget: new WindowBudget(maxBacklogBytesOfAll),
    shares: new ClientShares({}, clock),
    clock,
    log,
    failures,
    durationsSeconds,
    writesSeconds,
    dialed: () => {},
    connectionEnded: (seconds) => durationsSeconds.push(seconds),
    writeTimes: new WriteTimes(clock, (seconds) => writesSeconds.push(seconds)),
    dialFailed: (reason) => failures.push(reason),
    calls: new Set(),
    httpConnections: new Set(),
    socksConnections: new Set(),
    pendingDials: new Set(),
    established: new Set(),
    flushing: new Set(),
    onEnded: () => {},
  };
}
