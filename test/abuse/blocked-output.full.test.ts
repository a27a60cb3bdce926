import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { dialFailure, echo, openClient } from '../../testkit/world/front-client.ts';
import { connectTo, RawWebSocket } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { UnreadProgram } from '../../testkit/processes/unread-program.ts';
import { culvert, TestTokens } from '../../testkit/world/world.ts';

/** More than a pipe holds: Linux gives it 64 KiB, a line has at least 150 bytes. */
const sessions = 600;
const refusedRequests = 2000;
const refusedDials = 600;

let directory: string;
let tokens: TestTokens;
let target: TestTarget;
let broker: UnreadProgram;
let agent: UnreadProgram;
let brokerUrl: string;
let brokerStatus: string;
let agentStatus: string;
let client: KonnectivityClient;
/** A connection that is open during the whole test. */
let connection: Duplex;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-blocked-'));
  tokens = await TestTokens.create(directory);
  target = await startTarget({ mode: 'echo' });
  const status = ['--status-listen', '127.0.0.1:0'];
  const listen = ['--listen', '127.0.0.1:0', '--konnectivity-listen', '127.0.0.1:0'];
  const key = ['--token-public-key', tokens.publicKeyFile, '--accept-rate', '100000'];
  broker = await UnreadProgram.start(culvert('broker', [...listen, ...key, ...status]));
  brokerStatus = await statusOf(broker);
  [, brokerUrl] = (await broker.waitForLine(/"url":"(ws:[^"]+)"/)) as unknown as [string, string];
  const [, front] = await broker.waitForLine(/"addresses":\["(127[^"]+)"/);
  const token = await tokens.file(await tokens.issue({ kind: 'agent', cluster: 'cluster1' }));
  const link = ['--broker-url', brokerUrl, '--cluster', 'cluster1', '--token-file', token];
  const world = ['--tunnels', '1', '--kube-apiserver', '127.0.0.1', '--allow', '*.svc:*'];
  agent = await UnreadProgram.start(culvert('agent', [...link, ...world, ...status]));
  agentStatus = await statusOf(agent);
  await agent.waitForLine(/connected to the broker/);
  client = await openClient({ address: front! });
  connection = await client.dial(`cluster1:${target.port}`);
});
afterAll(async () => {
  client?.close();
  await Promise.all([broker?.[Symbol.asyncDispose](), agent?.[Symbol.asyncDispose]()]);
  await target?.close();
  await rm(directory, { recursive: true, force: true });
});

async function statusOf(program: UnreadProgram): Promise<string> {
  const [, address] = await program.waitForLine(
    /"address":"([^"]+)"[^\n]*"event":"status listens"/,
  );
  return `http://${address}`;
}

async function ask(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  return `${response.status} ${await response.text()}`;
}

/** Short sessions. Each makes a few lines in the logs of broker and agent. */
async function comeAndGo(): Promise<void> {
  const token = await tokens.issue({ kind: 'dialer', name: 'visitor' });
  const headers = { Authorization: `Bearer ${token}` };
  for (let visit = 0; visit < sessions; visit++) {
    const session = visit.toString(16).padStart(32, '0');
    const hello = { major: 1, minor: 0, software: 'visitor', session };
    const socket = await connectTo(brokerUrl, '');
    using link = await RawWebSocket.open(socket, '/v1/clusters/cluster1/session', headers);
    link.send({ payload: encodeFrame(FrameType.hello, 0, 0, encodeMessage(hello)) });
    await link.firstMessage;
  }
}

async function beRefused(): Promise<void> {
  const url = brokerUrl.replace('ws:', 'http:');
  for (let request = 0; request < refusedRequests; request++) {
    // One request at a time. The kind of refusal does not matter here.
    await ask(new URL(`/v1/agent/${request}/${'x'.repeat(1000)}`, url).href).catch(() => {});
  }
}

describe('Programs with a blocked output', { timeout: 60_000 }, () => {
  it('Programs with a blocked output serve streams and probes while they write far more than the pipe holds', async () => {
    expect(await echo(connection, 'before')).toBe('before');
    await Promise.all([comeAndGo(), beRefused()]);
    for (let dial = 0; dial < refusedDials; dial++) await dialFailure(client, 'cluster1.no:1');
    expect(await ask(`${brokerStatus}/healthz`)).toMatch(/^200/);
    expect(await ask(`${agentStatus}/healthz`)).toMatch(/^200/);
    expect(await echo(connection, 'after')).toBe('after');
    for (const status of [brokerStatus, agentStatus]) {
      expect(await ask(`${status}/metrics`)).toMatch(/^culvert_log_dropped_lines_total \d+$/m);
    }
  });

  it('Programs with a blocked output write the waiting lines when the output is read again, with repeated refusals counted', async () => {
    await agent.waitForLine(/"leftOut":\d+,"intervalMs":\d+,"event":"destination refused"/);
    const refused = agent.output.match(/"event":"destination refused"/g) ?? [];
    expect(refused.length).toBeLessThan(refusedDials);
  });

  it('Programs with a blocked output end in order although their last lines are never read', async () => {
    await comeAndGo();
    client.close();
    agent.kill('SIGTERM');
    expect(await agent.exited).toMatchObject({ signal: null });
    broker.kill('SIGTERM');
    expect(await broker.exited).toMatchObject({ signal: null });
  });

  it('Programs have written their last line before they end if the output is read', async () => {
    const token = await tokens.file(await tokens.issue({ kind: 'agent', cluster: 'cluster1' }));
    const link = ['--broker-url', brokerUrl, '--cluster', 'cluster1', '--token-file', token];
    await using last = await UnreadProgram.start(culvert('agent', link));
    await last.waitForLine(/no connection to the broker/);
    last.kill('SIGTERM');
    await last.waitForLine(/"event":"stopped"/);
    expect(await last.exited).toEqual({ code: 0, signal: null });
  });
});
