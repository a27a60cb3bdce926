import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { useStaticReads } from '../../../src/base/net/static-reads.ts';

async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [far] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}

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
