import { describe, expect, it } from 'vitest';
import { ByteQueue } from '../../src/base/byte-queue.ts';

describe('A queue of bytes', () => {
  it('The queue gathers pieces of one byte, in order', () => {
    const queue = new ByteQueue();
    const count = 100_000;
    for (let at = 0; at < count; at++) queue.append(Uint8Array.of(at % 251));
    expect(queue.bytes).toBe(count);
    const pieces: Uint8Array[] = [];
    for (let piece = queue.take(); piece !== undefined; piece = queue.take()) pieces.push(piece);
    expect(pieces.map(({ length }) => length)).toEqual([65_536, count - 65_536]);
    const expected = Uint8Array.from({ length: count }, (_, at) => at % 251);
    expect(Buffer.concat(pieces).equals(expected)).toBe(true);
    expect(queue.bytes).toBe(0);
  });

  it('The queue copies what it is given, and gives a larger piece no more memory than it has', () => {
    const queue = new ByteQueue();
    const piece = new Uint8Array(100_000).fill(1);
    queue.append(piece);
    queue.append(new Uint8Array());
    piece.fill(2);
    const taken = queue.take()!;
    expect(taken.every((byte) => byte === 1)).toBe(true);
    expect([taken.length, taken.buffer.byteLength]).toEqual([100_000, 100_000]);
    expect(queue.take()).toBeUndefined();
  });

  it('The queue keeps the bytes of pieces of any size in order', () => {
    const queue = new ByteQueue();
    const sizes = [40_000, 10_000, 70_000, 1, 65_536, 0, 65_535, 2, 32_768, 32_768, 1];
    const sent = Buffer.concat(sizes.map((size, at) => Buffer.alloc(size, at)));
    let start = 0;
    for (const size of sizes) queue.append(sent.subarray(start, (start += size)));
    const pieces: Uint8Array[] = [];
    for (let piece = queue.take(); piece !== undefined; piece = queue.take()) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(sent)).toBe(true);
  });

  it('The queue that was cleared has no bytes', () => {
    const queue = new ByteQueue();
    queue.append(Uint8Array.of(1, 2));
    queue.clear();
    expect([queue.bytes, queue.take()]).toEqual([0, undefined]);
  });
});
