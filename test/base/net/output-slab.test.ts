import { afterEach, beforeEach, expect, it, vi } from 'vitest';

beforeEach(() => {
  vi.useFakeTimers();
  // The free slabs belong to the module.
  vi.resetModules();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Takes slabs for as many outputs at once, and gives them all back. */
async function burst(outputs: number) {
  const { OutputSlab, trimEveryMs } = await import('../../../src/base/net/output-slab.ts');
  const use = (count: number) => {
    const slabs = Array.from({ length: count }, () => OutputSlab.take(1));
    for (const slab of slabs) slab.release();
    return slabs;
  };
  return { use, slabs: new Set(use(outputs)), trimEveryMs };
}

it('Slabs that stay free after a burst are given up', async () => {
  const { use, slabs, trimEveryMs } = await burst(20);
  vi.advanceTimersByTime(2 * trimEveryMs);
  expect(use(20).some((slab) => slabs.has(slab))).toBe(false);
});

it('Slabs that are in use again and again are kept', async () => {
  const { use, slabs, trimEveryMs } = await burst(20);
  for (let time = 0; time < 10; time++) {
    vi.advanceTimersByTime(trimEveryMs / 2);
    use(5);
  }
  const kept = use(20).filter((slab) => slabs.has(slab));
  expect(kept).toHaveLength(5);
});

it('No timer is set while no slab is free', async () => {
  const { trimEveryMs } = await burst(20);
  vi.advanceTimersByTime(2 * trimEveryMs);
  expect(vi.getTimerCount()).toBe(0);
});
