import { expect, it } from 'vitest';
import { DialRecords } from '../../src/agent/dial-records.ts';
import { upstreamLines } from '../../src/agent/upstream-metrics.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';

const request = { target: { kind: 'tcp', host: 'a', port: 1 }, timeoutMs: 1 } as const;
const prefix = 'konnectivity_network_proxy_agent';

it("The agent's metrics have the names, help texts and labels of konnectivity's agent", () => {
  const dials = new DialRecords(silentLogger);
  dials.add(request, { durationMs: 3, address: '10.0.0.1' });
  dials.add(request, { durationMs: 2_000, error: new TunnelError('refused', 'no') });
  dials.add(request, { durationMs: 5_000, error: new TunnelError('timeout', 'slow') });
  dials.add(request, { durationMs: 1, error: new TunnelError('cancelled', 'gone') });
  const numbers = { connectedServers: 1, knownServers: 2, openConnections: 3, dials };
  expect(upstreamLines(numbers)).toEqual(
    expect.arrayContaining([
      `# HELP ${prefix}_open_server_connections Current number of open server connections.`,
      `# TYPE ${prefix}_open_server_connections gauge`,
      `${prefix}_open_server_connections 1`,
      `${prefix}_known_server_count 2`,
      `${prefix}_open_endpoint_connections 3`,
      `# TYPE ${prefix}_endpoint_dial_failure_total counter`,
      `${prefix}_endpoint_dial_failure_total{reason="unknown"} 1`,
      `${prefix}_endpoint_dial_failure_total{reason="timeout"} 1`,
      `${prefix}_dial_duration_seconds_bucket{le="0.005"} 2`,
      `${prefix}_dial_duration_seconds_bucket{le="2.5"} 3`,
      `${prefix}_dial_duration_seconds_bucket{le="+Inf"} 4`,
      `${prefix}_dial_duration_seconds_count 4`,
    ]),
  );
});
