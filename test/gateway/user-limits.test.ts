import { describe, expect, it } from 'vitest';
import { UserLimits } from '../../src/gateway/user-limits.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const values = { maxConcurrent: 2, maxQueued: 1, maxWaitMs: 1_000, maxLongRunning: 1 };
const never = new AbortController().signal;

describe('The limits of a user', () => {
  it('A request waits until another of the same user has ended', async () => {
    const limits = new UserLimits(values, new VirtualClock());
    const first = limits.acquire('a', false, never);
    await limits.acquire('a', false, never);
    const waiting = limits.acquire('a', false, never);
    expect(waiting).toBeInstanceOf(Promise);
    expect({ queued: limits.queued, running: limits.running }).toEqual({ queued: 1, running: 2 });
    expect(() => limits.acquire('a', false, never)).toThrow('1 more wait');
    const release = await first;
    release();
    release();
    await waiting;
    expect({ queued: limits.queued, running: limits.running }).toEqual({ queued: 0, running: 2 });
  });

  it('A wait ends with 429 after its time', async () => {
    const clock = new VirtualClock();
    const limits = new UserLimits({ ...values, maxConcurrent: 1 }, clock);
    void limits.acquire('a', false, never);
    const waiting = Promise.resolve(limits.acquire('a', false, never)).catch((e: unknown) => e);
    await clock.advance(1_000);
    expect(await waiting).toMatchObject({ code: 429 });
    expect(limits.queued).toBe(0);
  });

  it('A client that leaves gives up its place in the queue', async () => {
    const limits = new UserLimits({ ...values, maxConcurrent: 1 }, new VirtualClock());
    void limits.acquire('a', false, never);
    const left = new AbortController();
    const waiting = Promise.resolve(limits.acquire('a', false, left.signal));
    left.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
    expect(limits.queued).toBe(0);
  });

  it('Long-running requests are counted apart', async () => {
    const limits = new UserLimits(values, new VirtualClock());
    const release = await limits.acquire('a', true, never);
    expect(() => limits.acquire('a', true, never)).toThrow('the limit');
    await limits.acquire('b', true, never);
    expect({ long: limits.longRunning, running: limits.running }).toEqual({ long: 2, running: 0 });
    release();
    await limits.acquire('a', true, never);
  });
});
