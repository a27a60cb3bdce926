import type { Metrics } from '../base/metrics/metrics.ts';
import { PacketCounts } from '../konnectivity/packet-counts.ts';
import type { BridgeMetrics } from '../konnectivity-bridge/metrics.ts';
import { withUpstreamNames } from '../konnectivity-bridge/upstream-metrics.ts';

const upstreamServer = 'konnectivity_network_proxy_server';

/** The metrics of a bridge in this process, under our names and upstream's. */
export function bridgeMetrics(metrics: Metrics): BridgeMetrics {
  return withUpstreamNames(metrics.group('culvert_bridge'), metrics.group(upstreamServer));
}

/** Counts of packets of clients and standard agents in this process, under upstream's name. */
export function packetCounts(metrics: Metrics): PacketCounts {
  const packets = new PacketCounts();
  metrics
    .group(upstreamServer)
    .totalsByTwo(
      'stream_packets',
      'Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)',
      ['segment', 'packet_type'],
      () => packets.entries(),
    );
  return packets;
}
