import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Condition } from '../../src/base/condition.ts';

/** A set and the condition that it is empty. */
function emptySet(...items: number[]) {
  const set = new Set(items);
  return { set, isEmpty: new Condition(() => set.size === 0) };
}

/** Whether a promise settles without further events. */
async function settles(promise: Promise<boolean>): Promise<boolean | 'waits'> {
  const later = new Promise<'waits'>((resolve) => setImmediate(resolve, 'waits'));
  return await Promise.race([promise, later]);
}

describe('Condition', () => {
  it('A condition that is true needs no wait, whether the signal is aborted or not', async () => {
    const { isEmpty } = emptySet();
    expect(await settles(isEmpty.wait())).toBe(true);
    expect(await settles(isEmpty.wait(AbortSignal.abort()))).toBe(true);
  });

  it('A condition wakes every waiter at the change that makes it true', async () => {
    const { set, isEmpty } = emptySet(1, 2);
    const waits = [isEmpty.wait(), isEmpty.wait(new AbortController().signal)];
    set.delete(1);
    isEmpty.changed();
    expect(await Promise.all(waits.map(settles))).toEqual(['waits', 'waits']);
    set.delete(2);
    isEmpty.changed();
    expect(await Promise.all(waits.map(settles))).toEqual([true, true]);
  });

  it('A condition tells a waiter whose signal aborts that it is not true', async () => {
    const { isEmpty } = emptySet(1);
    const stop = new AbortController();
    const wait = isEmpty.wait(stop.signal);
    const other = isEmpty.wait();
    stop.abort();
    expect(await settles(wait)).toBe(false);
    expect(await settles(other)).toBe('waits');
    expect(await settles(isEmpty.wait(stop.signal))).toBe(false);
  });

  it('A condition leaves no listener on the signal', async () => {
    const { set, isEmpty } = emptySet(1);
    const { signal } = new AbortController();
    const wait = isEmpty.wait(signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    set.clear();
    isEmpty.changed();
    await wait;
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});
