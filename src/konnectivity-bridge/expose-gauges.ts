import type { BridgeContext } from './bridge-context.ts';
import type { BridgeMetrics } from './metrics.ts';

/** Shows what a bridge holds. */
export function exposeGauges(metrics: BridgeMetrics, context: BridgeContext): void {
  metrics.gauge('grpc_connections', 'Open calls of ProxyService/Proxy', () => context.calls.size);
  metrics.gauge(
    'http_connections',
    'Connections of HTTP CONNECT clients that have sent their request',
    () => context.httpConnections.size,
  );
  metrics.gauge(
    'socks_connections',
    'Connections of SOCKS 5 clients that have sent their request',
    () => context.socksConnections.size,
  );
  metrics.gauge(
    'pending_backend_dials',
    'Dials that wait for an answer of the agent',
    () => context.pendingDials.size,
  );
  metrics.gauge(
    'established_connections',
    'Open connections between a client and a target',
    () => context.established.size,
  );
  metrics.gauge(
    'flushing_connections',
    'Connections whose client has closed and whose target still receives what was written',
    () => context.flushing.size,
  );
  metrics.gauge(
    'buffered_bytes',
    'Memory for bytes on their way to clients, in bytes',
    () => context.pool.inUseBytes,
  );
}
