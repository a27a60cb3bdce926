import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectTcp } from '../../../src/base/net/connect-tcp.ts';
import type { NameResolver } from '../../../src/base/net/name-resolver.ts';
import { untilConnecting } from '../../../testkit/network/connecting-sockets.ts';
import { startUnansweringPort } from '../../../testkit/network/unanswering-port.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

const namesWith = (...addresses: string[]): NameResolver => ({
  lookup: async () => ({ addresses }),
});

async function listen(host: string, port = 0): Promise<number> {
  const server = createServer((socket) => socket.resume().on('error', () => {}));
  server.listen(port, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('connectTcp', () => {
  it('connectTcp connects on a slow link although the IPv6 address of the name is unusable', async () => {
    await using slow = await startUnansweringPort();
    const names = namesWith('127.0.0.1', '::1');
    const connecting = connectTcp({ host: 'slow.test', port: slow.port }, { names });
    await untilConnecting(slow.port, 1);
    // The delay is longer than the 250 ms after which Node gives up an address.
    await sleep(400);
    slow.answer();
    const socket = await connecting;
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
  });

  it('connectTcp connects to the IPv6 address when the IPv4 address never answers', async () => {
    await using silent = await startUnansweringPort();
    await listen('::1', silent.port);
    const names = namesWith('127.0.0.1', '::1');
    const socket = await connectTcp({ host: 'silent.test', port: silent.port }, { names });
    expect(socket.remoteAddress).toBe('::1');
    socket.destroy();
    await untilConnecting(silent.port, 0);
  });

  it('connectTcp can be limited to one family', async () => {
    const port = await listen('::');
    const names = namesWith('127.0.0.1', '::1');
    const socket = await connectTcp({ host: 'both.test', port }, { names, family: 6 });
    expect(socket.remoteAddress).toBe('::1');
    socket.destroy();
  });

  it('connectTcp reports every address that was tried when it fails', async () => {
    await using silent = await startUnansweringPort();
    const clock = new VirtualClock();
    const names = namesWith('127.0.0.1', '127.0.0.1', '::1');
    const { port } = silent;
    const connecting = connectTcp({ host: 'x.test', port }, { names, clock, timeoutMs: 5_000 });
    const failed = connecting.catch((error: unknown) => error);
    await untilConnecting(port, 1);
    // ::1 comes next. It refuses at once, so that the following address starts.
    await clock.advance(300);
    await untilConnecting(port, 2);
    await clock.advance(5_000);
    const silence = `connect to 127.0.0.1:${port}: no answer`;
    expect(await failed).toMatchObject({
      name: 'ConnectError',
      message: `${silence}; connect ECONNREFUSED ::1:${port}; ${silence}`,
    });
    expect(clock.pendingTimers).toBe(0);
  });

  it('connectTcp gives up when the signal aborts', async () => {
    await using silent = await startUnansweringPort();
    const over = new AbortController();
    const { port } = silent;
    const connecting = connectTcp({ host: '127.0.0.1', port }, { signal: over.signal });
    await untilConnecting(port, 1);
    over.abort(new Error('enough'));
    await expect(connecting).rejects.toThrow('enough');
    await untilConnecting(port, 0);
  });
});
