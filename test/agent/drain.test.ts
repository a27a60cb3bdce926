import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { startFaultyProxy } from '../../testkit/network/faulty-proxy.ts';
import { TestTokens } from '../../testkit/world/world.ts';

afterEach(() => vi.restoreAllMocks());

/** Waits until all pending events have happened. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('The targets that a draining agent still has', () => {
  it('A draining agent waits for every target that still reads, and for no other target', async () => {
    const open = new OpenTargets(new VirtualClock());
    const [first, second] = [new Socket(), new Socket()];
    open.add(first, () => {});
    open.add(second, () => {});
    let closed = false;
    const waiting = open.closed(new AbortController().signal).then(() => (closed = true));
    first.destroy();
    first.destroy();
    await turns();
    expect(closed).toBe(false);
    second.destroy();
    await waiting;
    await open.closed(new AbortController().signal);
  });

  it('A draining agent waits for its targets until its time limit', async () => {
    const open = new OpenTargets(new VirtualClock());
    open.add(new Socket(), () => {});
    const limit = new AbortController();
    const waiting = open.closed(limit.signal);
    limit.abort();
    await waiting;
    await open.closed(limit.signal);
    expect(open.size).toBe(1);
  });

  it('A target outlasts its stream until the target has read the last byte', async () => {
    const accepted = Promise.withResolvers<Socket>();
    // More than the system buffers for a peer that does not read.
    const bytes = 64 * 1024 * 1024;
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, accepted.resolve);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const opened = Promise.withResolvers<void>();
    const stream = {
      accept: opened.resolve,
      consumed() {},
      fin() {},
      reset() {},
      write: () => true,
    };
    const open = new OpenTargets(new VirtualClock());
    const { port } = server.address() as AddressInfo;
    const made = new TargetConnection(
      stream as unknown as Stream,
      { host: '127.0.0.1', port },
      { timeoutMs: 5_000, clock: new VirtualClock() },
      open,
    );
    const socket = await accepted.promise;
    await opened.promise;
    made.onData(new Uint8Array(bytes));
    made.onFin();
    socket.end();
    made.onClose(undefined);
    let closed = false;
    const waiting = open.closed(new AbortController().signal).then(() => (closed = true));
    await turns();
    expect([closed, open.size]).toEqual([false, 1]);
    let received = 0;
    socket.on('data', (piece) => (received += piece.length));
    socket.resume();
    await once(socket, 'end');
    expect(received).toBe(bytes);
    await waiting;
    expect(open.size).toBe(0);
    server.close();
  });

  it('A target that still reads delays the end of a draining agent', async () => {
    const targets = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    vi.spyOn(OpenTargets.prototype, 'closed').mockImplementation(() => {
      asked.resolve();
      return targets.promise;
    });
    const flags = ['--broker-url', 'ws://127.0.0.1:1', '--cluster', 'c1'];
    const agent = await startAgent(readAgentOptions(flags, {}).options, { log: silentLogger });
    let drained = false;
    const draining = agent.drain(new AbortController().signal).then(() => (drained = true));
    await asked.promise;
    await turns();
    expect(drained).toBe(false);
    targets.resolve();
    await draining;
  });
});

describe('An agent that drains', () => {
  it('An agent that drains accepts a stream of a dialer that does not know about the drain yet', async () => {
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'culvert-drain-'));
    stack.defer(() => rm(directory, { recursive: true }));
    const tokens = await TestTokens.create(directory);
    const tokenFile = join(directory, 'token');
    await writeFile(tokenFile, await tokens.issue({ kind: 'agent', cluster: 'c1' }));
    const log = silentLogger;
    const brokerFlags = ['--listen', '127.0.0.1:0', '--token-public-key', tokens.publicKeyFile];
    const broker = stack.use(
      await startBroker(readBrokerOptions(brokerFlags, {}).options, { log }),
    );
    const network = await startFaultyProxy(Number(new URL(broker.url).port));
    stack.use(network);
    const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
    stack.defer(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const target = { kind: 'tcp', host: '127.0.0.1', port } as const;
    const way = ['--broker-url', `ws://127.0.0.1:${network.port}`, '--token-file', tokenFile];
    const flags = [...way, '--cluster', 'c1', '--allow', `127.0.0.1:${port}`];
    const agent = await startAgent(readAgentOptions(flags, {}).options, { log });
    stack.use(agent);
    await agent.connected;
    const first = DialedStream.open(broker.dialer, 'c1', target);
    const [socket] = (await once(server, 'connection')) as [Socket];
    first.fin();
    await Promise.all([first.closed, once(socket, 'close')]);
    await turns();

    network.silence('up');
    const drained = agent.drain(new AbortController().signal);
    const reached = once(server, 'connection');
    const late = DialedStream.open(broker.dialer, 'c1', target);
    late.fin();
    await Promise.race([reached, drained]);
    network.heal();
    expect(await late.closed).toBeUndefined();
    expect(late.receivedBytes).toBe(5);
    await drained;
  });
});
