import { droppedLinesHelp, droppedLogLines } from '../base/log/log-output.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';
import { upstreamLines } from './upstream-metrics.ts';
import { dialBucketsSeconds, type DialRecords } from './dial-records.ts';

/** The HTTP requests of an agent. */
export interface HttpNumbers {
  /** By the code that the dialer got; `ok` is a complete response. */
  readonly countByCode: ReadonlyMap<'ok' | TunnelErrorCode, number>;
  readonly openCount: number;
  readonly idleConnectionCount: number;
  readonly http2ConnectionCount: number;
}

/** The numbers of an agent at one moment. */
export interface AgentNumbers {
  readonly tunnels: number;
  /** Tunnels that the agent tries to have. */
  readonly wantedTunnels: number;
  readonly streams: number;
  readonly leaseRenewedAt: Date | undefined;
  /** How far the broker's clock is ahead of this machine's; 0: not known. */
  readonly brokerClockDifferenceMs: number;
  readonly dials: DialRecords;
  readonly http: HttpNumbers;
  /** CA files whose new contents cannot be used. */
  readonly staleFiles: number;
}

/** The text of /metrics. So few numbers do not pay for a library in every managed cluster. */
export function agentMetrics(numbers: AgentNumbers): {
  readonly contentType: string;
  readonly text: string;
} {
  const { tunnels, streams, leaseRenewedAt, dials, staleFiles, brokerClockDifferenceMs } = numbers;
  const gauges: readonly (readonly [string, string, number])[] = [
    ['tunnels', 'Tunnels to brokers that are established', tunnels],
    ['streams', 'Streams that are open', streams],
    ['http_requests', 'HTTP requests that are being answered', numbers.http.openCount],
    [
      'http_idle_connections',
      'Connections to servers that wait for the next HTTP request',
      numbers.http.idleConnectionCount,
    ],
    [
      'http2_connections',
      'Connections of HTTP/2 to a kube-apiserver, which watches share',
      numbers.http.http2ConnectionCount,
    ],
    [
      'lease_renewed_timestamp_seconds',
      'When the lease was renewed last; 0: not yet',
      (leaseRenewedAt?.getTime() ?? 0) / 1000,
    ],
    [
      'broker_clock_difference_seconds',
      'How far the clock of the broker is ahead of the one here; negative: behind, 0: not known',
      brokerClockDifferenceMs / 1000,
    ],
    [
      'files_stale',
      'CA files and kubeconfigs whose CA has changed into something that cannot be used; the last good one stays',
      staleFiles,
    ],
  ];
  const lines = [
    ...gauges.flatMap(([name, help, value]) => [
      ...head(name, help, 'gauge'),
      `culvert_agent_${name} ${value}`,
    ]),
    ...dialLines(dials),
    ...head(
      'http_requests_total',
      'HTTP requests, by their result: ok for a complete response, or the error code',
      'counter',
    ),
    ...Array.from(
      numbers.http.countByCode,
      ([code, requests]) => `culvert_agent_http_requests_total{code="${code}"} ${requests}`,
    ),
    ...upstreamLines({
      connectedServers: tunnels,
      knownServers: numbers.wantedTunnels,
      openConnections: streams,
      dials,
    }),
    `# HELP culvert_log_dropped_lines_total ${droppedLinesHelp}`,
    '# TYPE culvert_log_dropped_lines_total counter',
    `culvert_log_dropped_lines_total ${droppedLogLines()}`,
  ];
  return { contentType: 'text/plain; version=0.0.4', text: `${lines.join('\n')}\n` };
}

function dialLines({ countByCode, withinBound, totalSeconds, count }: DialRecords): string[] {
  const duration = 'culvert_agent_dial_duration_seconds';
  return [
    ...head('dials_total', 'Dials of targets, by their result: ok, or the error code', 'counter'),
    ...Array.from(
      countByCode,
      ([code, dials]) => `culvert_agent_dials_total{code="${code}"} ${dials}`,
    ),
    ...head(
      'dial_duration_seconds',
      'How long dials of targets took, failed ones too',
      'histogram',
    ),
    ...dialBucketsSeconds.map(
      (le, index) => `${duration}_bucket{le="${le}"} ${withinBound[index]}`,
    ),
    `${duration}_bucket{le="+Inf"} ${count}`,
    `${duration}_sum ${totalSeconds}`,
    `${duration}_count ${count}`,
  ];
}

function head(name: string, help: string, type: string): string[] {
  return [`# HELP culvert_agent_${name} ${help}`, `# TYPE culvert_agent_${name} ${type}`];
}
