import { describe, expect, it } from 'vitest';
import { UserLimits } from '../../src/gateway/user-limits.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const values = {
  ...{ maxConcurrent: 2, maxQueued: 1, maxWaitMs: 1_000 },
  ...{ maxLongRunning: 1, maxLongRunningOfCluster: 2 },
};
const never = new AbortController().signal;

const getOf = (user: string) => ({ user, cluster: 'c1', isLongRunning: false });
const watchOf = (user: string, cluster = 'c1') => ({ user, cluster, isLongRunning: true });

describe('The limits of a user', () => {
  it('A request waits until another of the same user has ended', async () => {
    const limits = new UserLimits(values, new VirtualClock());
    const first = limits.acquire(getOf('a'), never);
    await limits.acquire(getOf('a'), never);
    const waiting = limits.acquire(getOf('a'), never);
    expect(waiting).toBeInstanceOf(Promise);
    expect({ queued: limits.queued, running: limits.running }).toEqual({ queued: 1, running: 2 });
    expect(() => limits.acquire(getOf('a'), never)).toThrow('1 more wait');
    const release = await first;
    release();
    release();
    await waiting;
    expect({ queued: limits.queued, running: limits.running }).toEqual({ queued: 0, running: 2 });
  });

  it('A wait ends with 429 after its time', async () => {
    const clock = new VirtualClock();
    const limits = new UserLimits({ ...values, maxConcurrent: 1 }, clock);
    void limits.acquire(getOf('a'), never);
    const waiting = Promise.resolve(limits.acquire(getOf('a'), never)).catch((e: unknown) => e);
    await clock.advance(1_000);
    expect(await waiting).toMatchObject({ code: 429 });
    expect(limits.queued).toBe(0);
  });

  it('A client that leaves gives up its place in the queue', async () => {
    const limits = new UserLimits({ ...values, maxConcurrent: 1 }, new VirtualClock());
    void limits.acquire(getOf('a'), never);
    const left = new AbortController();
    const waiting = Promise.resolve(limits.acquire(getOf('a'), left.signal));
    left.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
    expect(limits.queued).toBe(0);
  });

  it('Long-running requests are counted apart', async () => {
    const limits = new UserLimits(values, new VirtualClock());
    const release = await limits.acquire(watchOf('a'), never);
    expect(() => limits.acquire(watchOf('a'), never)).toThrow('the limit');
    await limits.acquire(watchOf('b'), never);
    expect({ long: limits.longRunning, running: limits.running }).toEqual({ long: 2, running: 0 });
    release();
    await limits.acquire(watchOf('a'), never);
  });

  it('Long-running requests of all users leave room for short requests to a cluster', async () => {
    const limits = new UserLimits(values, new VirtualClock());
    const release = await limits.acquire(watchOf('a'), never);
    await limits.acquire(watchOf('b'), never);
    expect(() => limits.acquire(watchOf('c'), never)).toThrow('cluster c1 has 2 watches');
    await limits.acquire(getOf('c'), never);
    await limits.acquire(watchOf('d', 'c2'), never);
    release();
    release();
    await limits.acquire(watchOf('c'), never);
    expect(() => limits.acquire(watchOf('e'), never)).toThrow('cluster c1 has 2 watches');
  });
});
