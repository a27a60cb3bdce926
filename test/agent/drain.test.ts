import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { OpenTargets, TcpTarget } from '../../src/agent/tcp-target.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

afterEach(() => vi.restoreAllMocks());

const target = (): TcpTarget => ({}) as TcpTarget;

/** Whatever could happen has happened. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('the targets that an agent still has', () => {
  it('are waited for, every one that still reads, and not for more', async () => {
    const open = new OpenTargets();
    const [first, second] = [target(), target()];
    open.add(first);
    open.add(second);
    let closed = false;
    const waiting = open.closed(new AbortController().signal).then(() => (closed = true));
    open.delete(first);
    open.delete(first);
    await turns();
    expect(closed).toBe(false);
    open.delete(second);
    await waiting;
    await open.closed(new AbortController().signal);
  });

  it('are waited for no longer than it may take', async () => {
    const open = new OpenTargets();
    open.add(target());
    const limit = new AbortController();
    const waiting = open.closed(limit.signal);
    limit.abort();
    await waiting;
    await open.closed(limit.signal);
    expect(open.size).toBe(1);
  });

  it('outlast their streams until they have read the last byte', async () => {
    const accepted = Promise.withResolvers<Socket>();
    // More than the system takes from us for somebody who does not read.
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
    const open = new OpenTargets();
    const { port } = server.address() as AddressInfo;
    const made = new TcpTarget(
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

  it('hold up the end of an agent that drains', async () => {
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
