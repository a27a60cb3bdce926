import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { EdgeBroker } from './edge-broker.ts';

describe('A Durable Object that sleeps', () => {
  let broker: EdgeBroker;
  let dialer: PooledDialer;

  beforeAll(async () => {
    broker = await EdgeBroker.start();
    dialer = await broker.dialer();
  }, 30_000);
  afterAll(() => broker?.[Symbol.asyncDispose]());

  const open = (cluster: string, port: number, through = dialer) =>
    DialedStream.open(through, cluster, { kind: 'tcp', host: cluster, port });

  it("A Durable Object that slept passes on the dialer's next byte and the answer", async () => {
    await broker.agent('first');
    await using target = await startTarget({ mode: 'echo' });
    const stream = open('first', target.port);
    await stream.opened;
    for (let round = 0; round < 3; round++) {
      await broker.worker.putToSleep('first');
      await stream.write(patternAt(100 * round, 100));
      await stream.received(100 * (round + 1));
    }
    stream.fin();
    expect(Buffer.compare(await stream.readAll(), patternAt(0, 300))).toBe(0);
    expect(dialer.resumedCount).toBe(0);
  });

  it("A Durable Object that slept passes on the agent's next byte", async () => {
    await broker.agent('second');
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const { port } = server.address() as { port: number };
    const stream = open('second', port);
    await stream.opened;
    const [socket] = await accepted;
    await broker.worker.putToSleep('second');
    socket.end('woken by the agent');
    expect((await stream.readAll()).toString()).toBe('woken by the agent');
    stream.fin();
    expect(await stream.closed).toBeUndefined();
    server.close();
    expect(dialer.resumedCount).toBe(0);
  });

  it('A dial after a sleep waits for an agent that was connected before, and an unknown name is answered at once', async () => {
    const first = await broker.agent('returns');
    await first.close();
    await broker.worker.putToSleep('returns');
    await using target = await startTarget({ mode: 'echo' });
    const waiting = open('returns', target.port);
    const unknown = open('never', target.port);
    expect(await unknown.closed).toMatchObject({ code: 'no_agent' });
    await broker.agent('returns');
    await waiting.opened;
    waiting.fin();
    expect(await waiting.closed).toBeUndefined();
  });

  it('A Durable Object that slept keeps the sessions of dialers apart and takes new ones', async () => {
    await broker.agent('several');
    await using target = await startTarget({ mode: 'echo' });
    const dialers = [dialer, await broker.dialer('second'), await broker.dialer('third')];
    const streams = dialers.map((through) => open('several', target.port, through));
    await Promise.all(streams.map((stream) => stream.opened));
    await broker.worker.putToSleep('several');
    const late = open('several', target.port, await broker.dialer('late'));
    const echoed = [...streams, late].map(async (stream, i) => {
      await stream.opened;
      await stream.write(patternAt(i, 5000));
      stream.fin();
      return Buffer.compare(await stream.readAll(), patternAt(i, 5000));
    });
    expect(await Promise.all(echoed)).toEqual([0, 0, 0, 0]);
  });

  it('A Durable Object that slept still knows its agents', async () => {
    await Promise.all([
      broker.agent('known', { agentId: 'a' }),
      broker.agent('known', { agentId: 'b' }),
    ]);
    await broker.worker.putToSleep('known');
    const token = await broker.issueToken({ kind: 'dialer', name: 'asker' });
    const url = `${broker.worker.url.replace('ws', 'http')}/v1/clusters/known/status`;
    const answer = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
    const { clusters } = (await answer.json()) as {
      clusters: { agents: { agent: string; software: string }[] }[];
    };
    const agents = clusters[0]!.agents.map(({ agent }) => agent).sort();
    expect(agents).toEqual(['a', 'b']);
    expect(clusters[0]!.agents[0]!.software).toMatch(/^culvert-agent\//);
  });

  it('A Durable Object that slept ends the streams of an agent that leaves', async () => {
    const agent = await broker.agent('leaves');
    await using target = await startTarget({ mode: 'echo' });
    const stream = open('leaves', target.port);
    await stream.opened;
    await broker.worker.putToSleep('leaves');
    await agent.close();
    expect(await stream.closed).toMatchObject({ code: 'agent_lost' });
    expect(await open('leaves', target.port).closed).toMatchObject({ code: 'no_agent' });
  });

  it('A Durable Object that slept tells the agent that a dialer left', async () => {
    const agent = await broker.agent('left');
    await using target = await startTarget({ mode: 'echo' });
    const leaving = await broker.dialer('leaving');
    const stream = open('left', target.port, leaving);
    await stream.opened;
    expect(agent.streamCount).toBe(1);
    await broker.worker.putToSleep('left');
    leaving.close();
    await target.waitForReports(1);
    expect(agent.streamCount).toBe(0);
  });

  it('Sessions continue when the sockets that a Durable Object took back are lost', async () => {
    await broker.agent('resumed');
    await using target = await startTarget({ mode: 'echo' });
    const stream = open('resumed', target.port);
    await stream.opened;
    await stream.write(patternAt(0, 10));
    await stream.received(10);
    await broker.worker.putToSleep('resumed');
    await stream.write(patternAt(10, 10));
    await stream.received(20);
    await broker.worker.dropSockets('resumed');
    await stream.write(patternAt(20, 10));
    stream.fin();
    expect(Buffer.compare(await stream.readAll(), patternAt(0, 30))).toBe(0);
  });
});
