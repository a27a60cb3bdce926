import { expect, it } from 'vitest';
import { Metrics } from '../../src/base/metrics.ts';
import { startMetricsServer } from '../../src/cli/metrics-server.ts';

const anyPort = { host: '127.0.0.1', port: 0 };

it('answers what the program counts, and nothing else', async () => {
  const metrics = new Metrics();
  let calls = 0;
  metrics.group('culvert_test').total('calls', 'Calls', () => calls);
  await using server = await startMetricsServer(metrics, anyPort);
  calls = 3;
  const answer = await fetch(server.url);
  expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=/);
  const text = await answer.text();
  expect(text).toContain('culvert_test_calls_total 3');
  expect(text).toContain('process_resident_memory_bytes ');
  expect((await fetch(new URL('/', server.url))).status).toBe(404);
  expect((await fetch(server.url, { method: 'POST' })).status).toBe(404);
});

it('fails to start where the address is taken, and leaves nothing when it ends', async () => {
  const first = await startMetricsServer(new Metrics(), anyPort);
  const taken = { host: '127.0.0.1', port: Number(new URL(first.url).port) };
  await expect(startMetricsServer(new Metrics(), taken)).rejects.toThrow('EADDRINUSE');
  await fetch(first.url);
  await first[Symbol.asyncDispose]();
  await using again = await startMetricsServer(new Metrics(), taken);
  expect(again.url).toBe(first.url);
});
