import { expect, it } from 'vitest';
import { GrowingBytes } from '../../src/base/growing-bytes.ts';

it('Growing bytes are all pieces in order, and a taken piece is not written again', () => {
  const bytes = new GrowingBytes(10_000);
  const piece = new Uint8Array(1);
  for (let at = 0; at < 10_000; at++) {
    piece[0] = at % 251;
    bytes.append(piece);
  }
  expect(bytes.length).toBe(10_000);
  const taken = bytes.take();
  expect(taken).toEqual(Uint8Array.from({ length: 10_000 }, (_, at) => at % 251));
  expect(taken.buffer.byteLength).toBe(10_000);
  expect(bytes.length).toBe(0);
  bytes.append(Uint8Array.of(7, 8));
  expect(bytes.take()).toEqual(Uint8Array.of(7, 8));
  expect(taken[0]).toBe(0);
});
