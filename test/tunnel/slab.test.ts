import { describe, expect, it } from 'vitest';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';
import { SlabPool, maxDataBytes } from '../../src/tunnel/slab.ts';

const smallBytes = 4 * 1024;
const largeBytes = maxDataBytes + frameHeaderBytes;

describe('SlabPool', () => {
  it('The slab pool gives a small slab if payload and overhead fit, and a large slab from the next byte on', () => {
    const pool = new SlabPool();
    expect(pool.take(1).bytes.length).toBe(smallBytes);
    expect(pool.take(smallBytes - frameHeaderBytes).bytes.length).toBe(smallBytes);
    expect(pool.take(smallBytes - frameHeaderBytes + 1).bytes.length).toBe(largeBytes);
    expect(pool.take(10 * maxDataBytes).bytes.length).toBe(largeBytes);
  });

  it('The slab pool counts a slab as held until its last reference is released', () => {
    const pool = new SlabPool();
    const slab = pool.take(1);
    slab.retain();
    slab.release();
    expect(pool.inUseBytes).toBe(smallBytes);
    slab.release();
    expect(pool.inUseBytes).toBe(0);
  });

  it('The slab pool hands a released slab out again', () => {
    const pool = new SlabPool();
    const first = pool.take(maxDataBytes);
    const { bytes } = first;
    first.release();
    expect(pool.take(maxDataBytes).bytes).toBe(bytes);
  });

  it('The slab pool keeps no more free memory than its limit', () => {
    const pool = new SlabPool(2 * smallBytes);
    const slabs = [pool.take(1), pool.take(1), pool.take(1)];
    const before = new Set(slabs.map((slab) => slab.bytes));
    for (const slab of slabs) slab.release();
    const again = [pool.take(1), pool.take(1), pool.take(1)];
    expect(again.filter((slab) => before.has(slab.bytes))).toHaveLength(2);
  });
});
