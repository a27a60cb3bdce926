import type { ConnectionGuard } from '../../base/server/connection-guard.ts';
import type { MetricsGroup } from '../../base/metrics/metrics.ts';
import type { AgentClocks } from '../agent-clocks.ts';
import type { RejectionCounts } from '../app.ts';
import type { Relay } from '../relay.ts';

/** The broker's metrics, which are read from the relay when a scraper asks. */
export function exposeBroker(to: MetricsGroup, relay: Relay, rejections: RejectionCounts): void {
  to.gauge('agents', 'Agents whose tunnel this broker holds', () => relay.agentCount);
  to.gauge('sessions', 'Sessions of dialers that this broker carries', () => relay.dialerCount);
  to.gauge('draining', '1 while this broker shuts down', () => (relay.draining ? 1 : 0));
  to.total(
    'relayed_bytes',
    'Bytes of payload passed on in either direction',
    () => relay.relayedBytes,
  );
  to.total('dropped_frames', 'Frames for sessions that had ended', () => relay.droppedFrames);
  to.totals(
    'rejected_connections',
    'Connections that were refused before the upgrade, by HTTP status',
    'status',
    () => rejections.byStatus,
  );
}

/** How far agents' clocks are off. */
export function exposeClocks(to: MetricsGroup, clocks: AgentClocks): void {
  to.gauge(
    'agent_clock_difference_seconds',
    'How far the clock of the agent with the most wrong one is ahead; negative: behind, 0: all are within 30 s',
    () => clocks.greatestDifferenceS(),
  );
}

/** The connections of the broker's listener. */
export function exposeConnections(to: MetricsGroup, guard: ConnectionGuard): void {
  to.gauge('connections', 'Connections to --listen', () => guard.count);
  to.gauge(
    'unauthenticated_connections',
    'Connections to --listen that have not shown a credential',
    () => guard.unauthenticatedCount,
  );
  to.totals(
    'closed_connections',
    'Connections to --listen that were closed by their limits, by reason',
    'reason',
    () => guard.refusals,
  );
}
