import { droppedLinesHelp, droppedLogLines } from '../base/log-output.ts';

/** What an agent counts, at one moment. */
export interface AgentNumbers {
  readonly tunnels: number;
  readonly streams: number;
  readonly leaseRenewedAt: Date | undefined;
}

/** The text of /metrics. So few numbers do not pay for a library in every managed cluster. */
export function agentMetrics({ tunnels, streams, leaseRenewedAt }: AgentNumbers): {
  readonly contentType: string;
  readonly text: string;
} {
  const gauges: readonly (readonly [string, string, number])[] = [
    ['tunnels', 'Tunnels to brokers that stand', tunnels],
    ['streams', 'Streams that are open', streams],
    [
      'lease_renewed_timestamp_seconds',
      'When the lease was renewed last; 0: not yet',
      (leaseRenewedAt?.getTime() ?? 0) / 1000,
    ],
  ];
  const gaugeLines = gauges.flatMap(([name, help, value]) => [
    `# HELP culvert_agent_${name} ${help}`,
    `# TYPE culvert_agent_${name} gauge`,
    `culvert_agent_${name} ${value}`,
  ]);
  const lines = [
    ...gaugeLines,
    `# HELP culvert_log_dropped_lines_total ${droppedLinesHelp}`,
    '# TYPE culvert_log_dropped_lines_total counter',
    `culvert_log_dropped_lines_total ${droppedLogLines()}`,
  ];
  return { contentType: 'text/plain; version=0.0.4', text: `${lines.join('\n')}\n` };
}
