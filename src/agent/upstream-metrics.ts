import type { TunnelErrorCode } from '../tunnel/errors.ts';
import { dialBucketsSeconds, type DialRecords } from './dial-records.ts';

/** The numbers of an agent that konnectivity's proxy-agent publishes too. */
export interface UpstreamNumbers {
  /** Servers that the agent is connected to, and servers that it tries to be connected to. */
  readonly connectedServers: number;
  readonly knownServers: number;
  readonly openConnections: number;
  readonly dials: DialRecords;
}

const prefix = 'konnectivity_network_proxy_agent';
/** Bounds of upstream's histogram, in seconds. */
const upstreamBucketsSeconds = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 30] as const;

/**
 * Lines of /metrics with the names and help texts of konnectivity's proxy-agent 0.36, so that
 * dashboards and alerts keep working.
 */
export function upstreamLines(numbers: UpstreamNumbers): string[] {
  const { dials } = numbers;
  const duration = `${prefix}_dial_duration_seconds`;
  const failures = Array.from(failuresByReason(dials.countByCode));
  return [
    ...gauge(
      'open_server_connections',
      'Current number of open server connections.',
      numbers.connectedServers,
    ),
    ...gauge(
      'known_server_count',
      'Current number of servers agent is trying to connect to.',
      numbers.knownServers,
    ),
    ...gauge(
      'open_endpoint_connections',
      'Current number of open endpoint connections.',
      numbers.openConnections,
    ),
    ...head(
      'endpoint_dial_failure_total',
      'Number of failures dialing the remote endpoint, by reason (example: timeout).',
      'counter',
    ),
    ...failures.map(
      ([reason, count]) => `${prefix}_endpoint_dial_failure_total{reason="${reason}"} ${count}`,
    ),
    ...head(
      'dial_duration_seconds',
      'Latency of dial to the remote endpoint in seconds',
      'histogram',
    ),
    ...upstreamBucketsSeconds.map((le) => {
      const within = dials.withinBound[dialBucketsSeconds.indexOf(le)];
      return `${duration}_bucket{le="${le}"} ${within}`;
    }),
    `${duration}_bucket{le="+Inf"} ${dials.count}`,
    `${duration}_sum ${dials.totalSeconds}`,
    `${duration}_count ${dials.count}`,
  ];
}

/** Upstream's reasons. A dial that its client cancelled is no failure there. */
function failuresByReason(
  countByCode: ReadonlyMap<'ok' | TunnelErrorCode, number>,
): Map<'timeout' | 'unknown', number> {
  const failures = new Map<'timeout' | 'unknown', number>();
  for (const [code, count] of countByCode) {
    if (code === 'ok' || code === 'cancelled') continue;
    const reason = code === 'timeout' ? 'timeout' : 'unknown';
    failures.set(reason, (failures.get(reason) ?? 0) + count);
  }
  return failures;
}

function gauge(name: string, help: string, value: number): string[] {
  return [...head(name, help, 'gauge'), `${prefix}_${name} ${value}`];
}

function head(name: string, help: string, type: string): string[] {
  return [`# HELP ${prefix}_${name} ${help}`, `# TYPE ${prefix}_${name} ${type}`];
}
