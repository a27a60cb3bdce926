import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { maxCorrectionMs } from '../../src/agent/broker-clock.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import { AgentClocks } from '../../src/broker/agent-clocks.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { AgentAuthority } from '../../testkit/world/agent-authority.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { startIngress } from '../../testkit/network/ingress.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

const differs = 'the clocks of agent and broker differ';
const agentDiffers = 'the clock of an agent differs';

let directory: string;
let certificates: TestCertificates;
let agents: AgentAuthority;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-clock-skew-'));
  certificates = await makeTestCertificates();
  agents = await AgentAuthority.create();
});
afterAll(async () => {
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function recorder(): { readonly lines: Record<string, unknown>[]; readonly log: Logger } {
  const lines: Record<string, unknown>[] = [];
  const say = (event: string, fields?: LogFields) => void lines.push({ event, ...fields });
  const log: Logger = { ...silentLogger, info: say, warn: say, error: say, child: () => log };
  return { lines, log };
}

const numberOf = async (lines: readonly Record<string, unknown>[], metric: string) => {
  const address = String(lines.find(({ event }) => event === 'status listens')?.['address']);
  const text = await (await fetch(`http://${address}/metrics`)).text();
  return Number(new RegExp(`^${metric} (.*)$`, 'm').exec(text)?.[1]);
};

/** A broker behind an ingress that ends TLS, and an agent whose clock is `skewMs` ahead of the broker's. */
async function start(skewMs: number) {
  const status = ['--status-listen', '127.0.0.1:0'];
  const agentCa = join(directory, 'agents.crt');
  await writeFile(agentCa, agents.pem);
  const listen = ['--listen', '127.0.0.1:0', ...status, '--agent-ca', agentCa];
  const ofBroker = recorder();
  const broker = await startBroker(readBrokerOptions(listen, {}).options, { log: ofBroker.log });
  onTestFinished(() => broker.close());
  const upstreamPort = Number(new URL(broker.url).port);
  const host = 'broker.example';
  const ingress = await startIngress({ tls: certificates.server, host, upstreamPort });
  onTestFinished(() => ingress[Symbol.asyncDispose]());
  const flags = [
    ...['--cluster', 'c1', '--broker-url', `wss://localhost:${ingress.port}`, ...status],
    ...['--host-header', host, '--ca-file', certificates.server.ca, '--tunnels', '1'],
    ...['--certificate-dir', await agents.directory(join(directory, `agent${skewMs}`))],
  ];
  const ofAgent = recorder();
  const wallClock = () => Date.now() + skewMs;
  const agent = await startAgent(readAgentOptions(flags, {}).options, {
    log: ofAgent.log,
    wallClock,
  });
  onTestFinished(() => agent.close());
  return { agent, ofAgent: ofAgent.lines, ofBroker: ofBroker.lines };
}

const named = (lines: readonly Record<string, unknown>[], wanted: string) =>
  lines.filter(({ event }) => event === wanted);

describe('An agent whose clock is wrong', () => {
  it.each([-30 * 60_000, -3 * 60_000, 3 * 60_000, 30 * 60_000])(
    'An agent whose clock is wrong by %d ms connects at once, and both ends log it once',
    async (skewMs) => {
      const { agent, ofAgent, ofBroker } = await start(skewMs);
      await agent.connected;
      expect(agent.tunnelCount).toBe(1);
      expect(named(ofAgent, 'no connection to the broker')).toEqual([]);
      const [line, ...more] = named(ofAgent, differs);
      expect(more).toEqual([]);
      expect(Math.abs(Number(line?.['brokerAheadS']) + skewMs / 1000)).toBeLessThan(20);
      expect(named(ofBroker, agentDiffers)).toHaveLength(1);
      const ofAgents = await numberOf(ofAgent, 'culvert_agent_broker_clock_difference_seconds');
      expect(Math.abs(ofAgents + skewMs / 1000)).toBeLessThan(20);
      const ofBrokers = await numberOf(ofBroker, 'culvert_broker_agent_clock_difference_seconds');
      expect(Math.abs(ofBrokers - skewMs / 1000)).toBeLessThan(20);
    },
  );

  it('An agent whose clock is too wrong to be corrected is refused with both times in the message', async () => {
    const { ofAgent } = await start(maxCorrectionMs + 600_000);
    await expect.poll(() => named(ofAgent, 'no connection to the broker').length).toBe(1);
    expect(named(ofAgent, 'no connection to the broker')[0]?.['error']).toMatch(
      /not_yet_valid\): the token was made at 20.*Z, and here it is 20.*Z: the clock of the agent is ahead/,
    );
    expect(named(ofAgent, differs)[0]?.['next']).toMatch(/set the clock/);
  });

  it('An agent whose clock is slightly wrong is not logged', async () => {
    const { agent, ofAgent, ofBroker } = await start(2_000);
    await agent.connected;
    expect([...named(ofAgent, differs), ...named(ofBroker, agentDiffers)]).toEqual([]);
  });
});

describe('AgentClocks', () => {
  const startMs = Date.parse('2026-01-01T00:00:00Z');
  const make = () => {
    const { lines, log } = recorder();
    let nowMs = startMs;
    const clocks = new AgentClocks(log, () => nowMs);
    const observe = (agent: string, aheadMs: number) =>
      clocks.observe('c1', agent, new Date(nowMs + aheadMs).toISOString());
    return { clocks, lines, observe, pass: (ms: number) => void (nowMs += ms) };
  };

  it('AgentClocks reports the greatest difference among agents seen within an hour', () => {
    const { clocks, lines, observe, pass } = make();
    observe('a', 40_000);
    observe('b', -90_000);
    observe('c', 30_000);
    expect(clocks.greatestDifferenceS()).toBe(-90);
    observe('b', 0);
    expect(clocks.greatestDifferenceS()).toBe(40);
    observe('a', 41_000);
    expect(lines).toHaveLength(2);
    pass(3_600_001);
    expect(clocks.greatestDifferenceS()).toBe(0);
  });

  it('AgentClocks forgets the oldest agents, and ignores malformed times', () => {
    const { clocks, lines, observe } = make();
    for (const said of [undefined, '', 'yesterday', '2026', '1e99', '2026-01-01T00:00:00+09:00']) {
      clocks.observe('c1', 'x', said);
    }
    expect(lines).toEqual([]);
    observe('first', 3_600_000);
    for (let agent = 0; agent < 1_000; agent++) observe(`${agent}`, 60_000);
    expect(clocks.greatestDifferenceS()).toBe(60);
  });
});
