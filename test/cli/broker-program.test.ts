import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readAgentOptions } from '../../src/agent/options.ts';
import { startAgent } from '../../src/agent/agent.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Metrics } from '../../src/base/metrics/metrics.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { startBrokerProgram } from '../../src/cli/broker-program.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { ProxyPeer } from '../konnectivity-bridge/proxy-peer.ts';

const log = silentLogger;

/** A broker with a bridge in its process, an agent of the cluster `one`, and a client's call. */
async function startProgram(stack: AsyncDisposableStack) {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-broker-program-'));
  stack.defer(() => rm(directory, { recursive: true }));
  const target = stack.use(await startTarget({ mode: 'echo' }));
  const socket = join(directory, 'konnectivity.sock');
  const flags = ['--listen=127.0.0.1:0', `--konnectivity-uds=${socket}`];
  const metrics = new Metrics();
  const program = await startBrokerProgram(readBrokerOptions(flags, {}), { metrics, log, stack });
  const { options } = readAgentOptions(
    [
      ...[`--broker-url=${program.broker.url}`, '--cluster=one'],
      ...[`--kube-apiserver=127.0.0.1:${target.port}`],
    ],
    {},
  );
  const agent = stack.use(await startAgent(options, { log }));
  await agent.connected;
  const call = stack.use(new ProxyPeer(socket)).call();
  return { program, metrics, call, to: `one:${target.port}` };
}

it('A broker that drains serves the dial of a client whose call was open before', async () => {
  await using stack = new AsyncDisposableStack();
  const { program, call, to } = await startProgram(stack);
  // The answer shows that the broker has the call.
  call.close('1');
  expect(await call.next()).toMatchObject({ type: 'CLOSE_RSP' });

  const limit = new AbortController();
  const drained = program.drain(limit.signal);
  call.dial(to);
  const connection = await call.opened();
  call.data(connection, 'hello');
  expect((await call.read(5)).toString()).toBe('hello');
  limit.abort();
  await drained;
});

it("A broker publishes the packets of its clients under the name of upstream's server", async () => {
  await using stack = new AsyncDisposableStack();
  const { metrics, call, to } = await startProgram(stack);
  call.dial(to);
  const connection = await call.opened();
  call.data(connection, 'hello');
  await call.read(5);
  call.close(connection);
  await call.expect('CLOSE_RSP');
  const { text } = await metrics.render();
  const lines = text.split('\n').filter((line) => line.includes('stream_packets_total'));
  const name = 'konnectivity_network_proxy_server_stream_packets_total';
  const sample = (segment: string, type: string) =>
    `${name}{segment="${segment}",packet_type="${type}"} 1`;
  expect(lines).toEqual([
    `# HELP ${name} Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)`,
    `# TYPE ${name} counter`,
    ...['DIAL_REQ', 'CLOSE_REQ', 'DATA'].map((type) => sample('from_client', type)),
    ...['DIAL_RSP', 'CLOSE_RSP', 'DATA'].map((type) => sample('to_client', type)),
  ]);
});
