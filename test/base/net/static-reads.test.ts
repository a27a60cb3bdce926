import { setFlagsFromString } from 'node:v8';
import { expect, it, onTestFinished } from 'vitest';
import { useStaticReads } from '../../../src/base/net/static-reads.ts';
import { socketPair } from './socket-pair.ts';

it('The pinned version of Node lets sockets read into shared memory, without which reads cost twice the CPU', async () => {
  const [near, far] = await socketPair();
  const memory = new Set<ArrayBufferLike>();
  let receivedBytes = 0;
  let isReading = true;
  const texts = { far: '', near: '' };
  const onRead =
    (side: keyof typeof texts) =>
    (bytes: Uint8Array): boolean => {
      memory.add(bytes.buffer);
      receivedBytes += bytes.length;
      texts[side] += new TextDecoder().decode(bytes);
      return isReading;
    };
  expect(useStaticReads(far, onRead('far'))).toBe(true);
  expect(useStaticReads(near, onRead('near'))).toBe(true);
  far.resume();
  near.resume();
  for (let round = 1; round <= 10; round++) {
    near.write('to');
    far.write('fro');
    await expect.poll(() => receivedBytes).toBe(5 * round);
  }
  expect(memory.size).toBe(1);
  isReading = false;
  near.write('to');
  await expect.poll(() => receivedBytes).toBe(52);
  near.write('to');
  await new Promise((resolve) => setImmediate(resolve));
  expect(receivedBytes).toBe(52);
  isReading = true;
  far.resume();
  await expect.poll(() => receivedBytes).toBe(54);
  expect(texts).toEqual({ far: 'to'.repeat(12), near: 'fro'.repeat(10) });
});

it('A young collection can free a socket and its receiver, because no old function leads to them', async () => {
  const [, far] = await socketPair();
  setFlagsFromString('--allow-natives-syntax');
  onTestFinished(() => setFlagsFromString('--no-allow-natives-syntax'));
  // oxlint-disable-next-line typescript/no-implied-eval -- the syntax is none of JavaScript's
  const isYoung = new Function('value', 'return %InYoungGeneration(value)');
  useStaticReads(far, () => true);
  const fields = far as unknown as Record<symbol, unknown>;
  const functions = Object.getOwnPropertySymbols(far)
    .map((symbol) => fields[symbol])
    .filter((value) => typeof value === 'function');
  expect(functions.map((value) => isYoung(value) as boolean)).toEqual([true]);
});
