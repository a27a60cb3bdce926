import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { untilConnecting } from '../../testkit/network/connecting-sockets.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const timeoutMs = 5_000;

/** A target whose stream only records the result of the dial. */
function dial(host: string, port: number) {
  const clock = new VirtualClock();
  const over = Promise.withResolvers<TunnelError | 'accepted'>();
  const stream = {
    accept: () => over.resolve('accepted'),
    reset: over.resolve,
    fin() {},
    consumed() {},
    write: () => true,
  };
  const open = new OpenTargets(new VirtualClock());
  const added = vi.spyOn(open, 'add');
  const limit = { timeoutMs, clock };
  const target = new TargetConnection(stream as unknown as Stream, { host, port }, limit, open);
  const socket = (): Socket => added.mock.calls[0]![0];
  return { target, clock, over: over.promise, open, socket };
}

it('A target connection leaves no timer behind after a dial that succeeded', async () => {
  const server = createServer((socket) => socket.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { clock, over, target } = dial('127.0.0.1', (server.address() as AddressInfo).port);
  expect(clock.pendingTimers).toBe(1);
  expect(await over).toBe('accepted');
  expect(clock.pendingTimers).toBe(0);
  target.onFin();
});

it('The socket of a target that has closed leads to nothing of its stream', async () => {
  const server = createServer((socket) => socket.end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { over, target, socket } = dial('127.0.0.1', (server.address() as AddressInfo).port);
  expect(await over).toBe('accepted');
  const closed = once(socket(), 'close');
  target.onFin();
  await closed;
  expect(socket().eventNames()).toEqual(['error']);
});

it('A target connection fails after its timeout, and names the address that did not answer', async () => {
  await using silent = await startUnansweringPort();
  const { clock, over } = dial('127.0.0.1', silent.port);
  await untilConnecting(silent.port, 1);
  await clock.advance(timeoutMs - 1);
  expect(clock.pendingTimers).toBe(1);
  await clock.advance(1);
  const message = `dial tcp 127.0.0.1:${silent.port}: i/o timeout`;
  expect(await over).toMatchObject({ code: 'timeout', message });
  await untilConnecting(silent.port, 0);
});

it('A target connection ends silently when its stream ends during the dial', async () => {
  await using silent = await startUnansweringPort();
  const { target, clock, over, open } = dial('127.0.0.1', silent.port);
  let said = false;
  void over.then(() => (said = true));
  await untilConnecting(silent.port, 1);
  target.onClose(undefined);
  await untilConnecting(silent.port, 0);
  expect([said, clock.pendingTimers, open.size]).toEqual([false, 0, 0]);
});

it('A target connection fails when the name lookup has no answer in time', async () => {
  const { clock, over } = dial('somewhere.invalid', 1);
  // A lookup is never answered in the same turn.
  await clock.advance(timeoutMs);
  const message = 'dial tcp: lookup somewhere.invalid: i/o timeout';
  expect(await over).toMatchObject({ code: 'timeout', message });
});

it('A target connection reports a refused connection when no server listens', async () => {
  const { over } = dial('127.0.0.1', 1);
  expect(await over).toMatchObject({ code: 'refused' });
});
