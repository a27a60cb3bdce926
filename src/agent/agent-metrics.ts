/** What an agent counts, at one moment. */
export interface AgentNumbers {
  readonly tunnels: number;
  readonly streams: number;
  readonly leaseRenewedAt: Date | undefined;
  /** CA files that have changed into something that cannot be used. */
  readonly staleFiles: number;
}

/** The text of /metrics. So few numbers do not pay for a library in every managed cluster. */
export function agentMetrics({ tunnels, streams, leaseRenewedAt, staleFiles }: AgentNumbers): {
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
    [
      'files_stale',
      'CA files and kubeconfigs whose CA has changed into something that cannot be used; the last good one stays',
      staleFiles,
    ],
  ];
  const lines = gauges.flatMap(([name, help, value]) => [
    `# HELP culvert_agent_${name} ${help}`,
    `# TYPE culvert_agent_${name} gauge`,
    `culvert_agent_${name} ${value}`,
  ]);
  return { contentType: 'text/plain; version=0.0.4', text: `${lines.join('\n')}\n` };
}
