import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent, type RunningAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { type Logger, silentLogger } from '../../src/base/log/logger.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import type { RunningBroker } from '../../src/broker/node/running-broker.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { startTestBridge, type TestBridge } from './test-bridge.ts';

let broker: RunningBroker;
let bridge: TestBridge;
const agents: RunningAgent[] = [];
/** The kube-apiservers, by cluster. */
const targets: Record<string, TestTarget> = {};

/** The agent of a cluster whose kube-apiserver echoes. */
async function agentOf(
  cluster: string,
  flags: readonly string[] = [],
  log: Logger = silentLogger,
): Promise<RunningAgent> {
  const target = await startTarget({ mode: 'echo' });
  targets[cluster] = target;
  const { options } = readAgentOptions(
    ['--broker-url', broker.url, '--cluster', 'any', '--kube-apiserver', target.address, ...flags],
    {},
  );
  const agent = await startAgent({ ...options, cluster, tunnels: 1 }, { log });
  agents.push(agent);
  return agent;
}

beforeAll(async () => {
  const { options } = readBrokerOptions(['--listen', '127.0.0.1:0'], {});
  broker = await startBroker(options, { log: silentLogger });
  bridge = await startTestBridge(broker.dialer);
  const started = [
    await agentOf('c1', ['--install-namespace', 'proxies']),
    await agentOf('c2', ['--install-namespace', 'open-cluster-management-agent-addon']),
    await agentOf('c3'),
  ];
  await Promise.all(started.map(({ connected }) => connected));
});
afterAll(async () => {
  await bridge?.[Symbol.asyncDispose]();
  await Promise.all(agents.map((agent) => agent.close()));
  await broker?.close();
  await Promise.all(Object.values(targets).map((target) => target[Symbol.asyncDispose]()));
});

/** What dialling says: the cluster whose kube-apiserver it reached, or the error. */
async function dialled(address: string): Promise<string> {
  const before = Object.entries(targets).map(([name, target]) => [name, target.acceptedCount]);
  const call = bridge.peer.call();
  call.dial(address);
  const { dialResponse } = await call.expect('DIAL_RSP');
  if (dialResponse.error !== '') return dialResponse.error;
  call.data(dialResponse.connectID, 'ping');
  expect((await call.read(4)).toString()).toBe('ping');
  call.close(dialResponse.connectID);
  return before
    .filter(([name, count]) => targets[name!]!.acceptedCount > Number(count))
    .map(([name]) => name)
    .join();
}

describe('agents in different namespaces', () => {
  it.each([
    ['c1:443', 'c1'],
    ['c1.proxies:443', 'c1'],
    ['c2:443', 'c2'],
    ['c2.open-cluster-management-agent-addon:6443', 'c2'],
    ['c3:443', 'c3'],
  ])('Agents in different namespaces are reached by %s', async (address, cluster) => {
    expect(await dialled(address)).toBe(cluster);
  });

  it.each([
    ['c1.open-cluster-management-agent-addon:443', /namespace proxies, dial c1 or c1\.proxies$/],
    ['c2.proxies:443', /open-cluster-management-agent-addon, dial c2 or c2\./],
    ['c3.proxies:443', /was not told its namespace \(--install-namespace\), dial c3$/],
    ['proxies.c1:443', /^No agent available$/],
    ['c4.proxies:443', /^No agent available$/],
  ])('Agents in different namespaces are not reached by %s', async (address, error) => {
    expect(await dialled(address)).toMatch(error);
  });

  it('Agents in different namespaces keep their names, whatever the name of another cluster', async () => {
    const { promise: refused, resolve } = Promise.withResolvers<string>();
    const log: Logger = { ...silentLogger, warn: resolve, child: () => log };
    const { connected } = await agentOf('c1.other', [], log);
    const letIn = connected.then(() => 'let in');
    letIn.catch(() => {});
    expect(await Promise.race([refused, letIn])).toBe('no connection to the broker');
    expect(await dialled('c1.other:443')).toContain('the agent runs in the namespace proxies');
    expect(await dialled('c1.proxies:443')).toBe('c1');
  });
});
