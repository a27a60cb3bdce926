import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SocketSender } from '../../../src/base/net/socket-sender.ts';

it('A destroyed sender asks its owner for nothing and tells it nothing', async () => {
  const calls: string[] = [];
  const sender = new SocketSender(new Socket(), {
    canPull: true,
    pull: () => calls.push('pull'),
    onFlushed: () => calls.push('flushed'),
    onDrained: () => calls.push('drained'),
  });
  sender.wake();
  sender.destroy();
  await nextTurn();
  await nextTurn();
  expect(calls).toEqual([]);
});
