import type { Metrics } from '../base/metrics/metrics.ts';
import type { BridgeMetrics } from '../konnectivity-bridge/metrics.ts';
import { withUpstreamNames } from '../konnectivity-bridge/upstream-metrics.ts';

/** The metrics of a bridge in this process, under our names and upstream's. */
export function bridgeMetrics(metrics: Metrics): BridgeMetrics {
  return withUpstreamNames(
    metrics.group('culvert_bridge'),
    metrics.group('konnectivity_network_proxy_server'),
  );
}
