import type { AuditEvent, AuditHook } from '../audit.ts';

/** Receives the gateway's metrics. Names have no prefix. `MetricsGroup` of base implements it. */
export interface GatewayMetrics {
  gauge(name: string, help: string, read: () => number): void;
  counter(name: string, help: string, label: string): (value: string) => void;
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** Discards all metrics. */
export const noMetrics: GatewayMetrics = {
  gauge() {},
  counter: () => () => {},
  histogram: () => () => {},
};

/** The state that the gauges show. */
export interface GatewayGauges {
  readonly connections: () => number;
  readonly unauthenticatedConnections: () => number;
  readonly requests: () => number;
  readonly longRunningRequests: () => number;
  readonly queuedRequests: () => number;
  readonly tlsFilesStale: () => boolean;
}

const durationBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Shows what a gateway holds. */
export function exposeGateway(metrics: GatewayMetrics, gauges: GatewayGauges): void {
  metrics.gauge('connections', 'Connections of HTTP clients', gauges.connections);
  metrics.gauge(
    'unauthenticated_connections',
    'Connections of HTTP clients without a credential that a server accepted',
    gauges.unauthenticatedConnections,
  );
  metrics.gauge('requests', 'Requests that have not ended', gauges.requests);
  metrics.gauge(
    'long_running_requests',
    'Watches, logs, exec sessions and other upgrades that have not ended',
    gauges.longRunningRequests,
  );
  metrics.gauge(
    'queued_requests',
    'Requests that wait for other requests of the same user to end',
    gauges.queuedRequests,
  );
  metrics.gauge(
    'tls_files_stale',
    '1 while certificate, key or client CA have changed and cannot be used',
    () => (gauges.tlsFilesStale() ? 1 : 0),
  );
}

/** Counts ended requests. */
export function requestCounters(metrics: GatewayMetrics): AuditHook {
  const ended = metrics.counter(
    'requests_ended',
    'Requests that have ended, by status code',
    'code',
  );
  const failed = metrics.counter(
    'failed_requests',
    'Requests that the gateway answered itself, by the failing hop',
    'hop',
  );
  const duration = metrics.histogram(
    'request_duration_seconds',
    'How long requests took, without long-running ones',
    durationBuckets,
  );
  return ({ code, failure, isLongRunning, durationMs }: AuditEvent) => {
    ended(String(code));
    if (failure !== undefined) failed(failure.hop);
    if (!isLongRunning) duration(durationMs / 1_000);
  };
}
