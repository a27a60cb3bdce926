import { expect, it } from 'vitest';
import { askBroker } from '../../testkit/world/broker-http.ts';
import { echo, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { logged, loggedLine, startCulvert, startWorld } from '../../testkit/world/world.ts';

it('The metrics of a separate bridge count a resume, and the agent logs the resume', async () => {
  await using world = await startWorld({ plain: true });
  const token = await world.tokens.issue({ kind: 'dialer', name: 'apart' });
  const link = ['--broker-url', world.brokerUrl, '--token-file', await world.tokens.file(token)];
  const listens = ['--konnectivity-listen', '127.0.0.1:0', '--status-listen', '127.0.0.1:0'];
  await using bridge = startCulvert('bridge', [...link, ...listens]);
  const [address] = (await loggedLine(bridge, 'konnectivity bridge listens'))['addresses'] as [
    string,
  ];
  const metricsUrl = `http://${await logged(bridge, 'status listens', 'address')}/metrics`;
  const valueOf = async (name: string): Promise<number> => {
    const text = await (await fetch(metricsUrl)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  await using target = await startTarget({ mode: 'echo' });
  await using client = await openClient({ address });
  const connection = await client.dial(`cluster1:${target.port}`);
  expect(await echo(connection, 'before')).toBe('before');
  expect(await valueOf('culvert_session_resumes_total')).toBe(0);
  expect(await valueOf('culvert_bridge_established_connections')).toBe(1);

  world.broker.kill('SIGKILL');
  await world.broker.exited;
  await world.restartBroker();
  expect(await echo(connection, 'after')).toBe('after');
  expect(await valueOf('culvert_session_resumes_total')).toBe(1);
  expect(await valueOf('culvert_session_resume_gap_seconds_count')).toBe(1);
  expect(await valueOf('culvert_session_resume_gap_seconds_sum')).toBeGreaterThan(0);
  expect(await valueOf('culvert_session_resent_bytes_total')).toBeGreaterThanOrEqual(0);
  const line = await loggedLine(world.agent, 'session resumed');
  expect(line).toMatchObject({ dialer: 'apart', resentBytes: expect.any(Number) });
});

it('The metrics of a broker with a bridge contain the metrics of both', async () => {
  await using world = await startWorld({ plain: true });
  await using target = await startTarget({ mode: 'echo' });
  await using client = await openClient(world.front);
  const connection = await client.dial(`cluster1:${target.port}`);
  expect(await echo(connection, 'hello')).toBe('hello');
  const { body } = await askBroker(world, '/metrics');
  const lines = body.split('\n');
  expect(lines).toContain('culvert_broker_sessions 1');
  expect(lines).toContain('culvert_session_resumes_total 0');
  expect(lines).toContain('culvert_bridge_established_connections 1');
});

it('The metrics of a bridge have the names, help texts and labels of konnectivity too', async () => {
  await using world = await startWorld({ plain: true });
  await using target = await startTarget({ mode: 'echo' });
  await using client = await openClient(world.front);
  const connection = await client.dial(`cluster1:${target.port}`);
  expect(await echo(connection, 'hello')).toBe('hello');
  await expect(client.dial('cluster1:1')).rejects.toThrow('connection refused');
  const lines = (await askBroker(world, '/metrics')).body.split('\n');
  const name = 'konnectivity_network_proxy_server';
  expect(lines).toEqual(
    expect.arrayContaining([
      `# HELP ${name}_established_connections Current number of established end-to-end connections (post-dial).`,
      `# TYPE ${name}_established_connections gauge`,
      `${name}_established_connections 1`,
      `${name}_grpc_connections{service_method="Proxy"} 1`,
      `# HELP ${name}_dial_duration_seconds Latency of dial to the remote endpoint in seconds`,
      `${name}_dial_duration_seconds_count 1`,
      `# HELP ${name}_frontend_write_duration_seconds Latency of write to the frontend in seconds`,
      `${name}_frontend_write_duration_seconds_count 1`,
      `${name}_connection_duration_seconds_count 0`,
      `# TYPE ${name}_dial_failure_count counter`,
      `${name}_dial_failure_count{reason="error_response"} 1`,
    ]),
  );
});
