import { describe, expect, it } from 'vitest';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';
import { SlabPool, maxDataBytes } from '../../src/tunnel/slab.ts';

const smallBytes = 4 * 1024;
const largeBytes = maxDataBytes + frameHeaderBytes;

describe('SlabPool', () => {
  it('gives a small slab for a payload that fits one with its overhead, a large one from the next byte on', () => {
    const pool = new SlabPool();
    expect(pool.take(1).bytes.length).toBe(smallBytes);
    expect(pool.take(smallBytes - frameHeaderBytes).bytes.length).toBe(smallBytes);
    expect(pool.take(smallBytes - frameHeaderBytes + 1).bytes.length).toBe(largeBytes);
    expect(pool.take(10 * maxDataBytes).bytes.length).toBe(largeBytes);
  });

  it('counts what is held until the last reference is released', () => {
    const pool = new SlabPool();
    const slab = pool.take(1);
    slab.retain();
    slab.release();
    expect(pool.inUseBytes).toBe(smallBytes);
    slab.release();
    expect(pool.inUseBytes).toBe(0);
  });

  it('hands a released slab out again', () => {
    const pool = new SlabPool();
    const first = pool.take(maxDataBytes);
    const { bytes } = first;
    first.release();
    expect(pool.take(maxDataBytes).bytes).toBe(bytes);
  });

  it('keeps no more free memory than it was told to', () => {
    const pool = new SlabPool(2 * smallBytes);
    const slabs = [pool.take(1), pool.take(1), pool.take(1)];
    const before = new Set(slabs.map((slab) => slab.bytes));
    for (const slab of slabs) slab.release();
    const again = [pool.take(1), pool.take(1), pool.take(1)];
    expect(again.filter((slab) => before.has(slab.bytes))).toHaveLength(2);
  });
});
