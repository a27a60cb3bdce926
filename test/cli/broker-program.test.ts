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

it('A broker that drains serves the dial of a client whose call was open before', async () => {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-broker-program-'));
  stack.defer(() => rm(directory, { recursive: true }));
  const target = stack.use(await startTarget({ mode: 'echo' }));
  const socket = join(directory, 'konnectivity.sock');
  const flags = ['--listen=127.0.0.1:0', `--konnectivity-uds=${socket}`];
  const parts = { metrics: new Metrics(), log, stack };
  const program = await startBrokerProgram(readBrokerOptions(flags, {}), parts);
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
  // The answer shows that the broker has the call.
  call.close('1');
  expect(await call.next()).toMatchObject({ type: 'CLOSE_RSP' });

  const limit = new AbortController();
  const drained = program.drain(limit.signal);
  call.dial(`one:${target.port}`);
  const connection = await call.opened();
  call.data(connection, 'hello');
  expect((await call.read(5)).toString()).toBe('hello');
  limit.abort();
  await drained;
});
