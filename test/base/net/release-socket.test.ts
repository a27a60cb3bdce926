import { once } from 'node:events';
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { releaseSocket } from '../../../src/base/net/release-socket.ts';
import { endStaticReads, useStaticReads } from '../../../src/base/net/static-reads.ts';
import { socketPair } from './socket-pair.ts';

it('A socket that is released while it closes leads to no listener, and its other listeners hear of the close', async () => {
  const [near, far] = await socketPair();
  const heard: string[] = [];
  far.on('end', () => heard.push('end'));
  far.on('close', () => releaseSocket(far));
  far.on('close', () => heard.push('close'));
  const closed = once(far, 'close');
  far.resume();
  near.end();
  await closed;
  expect(heard).toEqual(['end', 'close']);
  expect(far.eventNames()).toEqual(['error']);
});

it('A late error of a released socket is ignored', () => {
  const socket = new Socket();
  releaseSocket(socket);
  expect(() => socket.emit('error', new Error('late'))).not.toThrow();
});

it('A released socket does not lead to the receiver of its bytes', async () => {
  const [, far] = await socketPair();
  const received: Uint8Array[] = [];
  useStaticReads(far, (bytes) => received.push(bytes) > 0);
  releaseSocket(far);
  const fields = far as unknown as Record<symbol, unknown>;
  const functions = Object.getOwnPropertySymbols(far)
    .map((symbol) => fields[symbol])
    .filter((value) => typeof value === 'function');
  expect(functions.length).toBeGreaterThan(0);
  for (const call of functions) (call as (count: number) => unknown)(1);
  expect(received).toEqual([]);
});

it('A socket whose bytes come as events has no receiver to release', () => {
  expect(() => endStaticReads(new Socket())).not.toThrow();
});
