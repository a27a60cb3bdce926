import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../src/base/token-bucket.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

describe('A token bucket', () => {
  it('A token bucket lets its burst pass at once and then its rate', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(100, 10, clock);
    expect(bucket.take(10)).toBe(0);
    expect(bucket.take(1)).toBeCloseTo(10);
    expect(bucket.take(1)).toBeCloseTo(20);
    await clock.advance(20);
    expect(bucket.take(1)).toBeCloseTo(10);
  });

  it('A token bucket that rests never saves more than its burst', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(100, 10, clock);
    bucket.take(10);
    await clock.advance(60_000);
    expect(bucket.take(10)).toBe(0);
    expect(bucket.take(1)).toBeCloseTo(10);
  });

  it('A token bucket makes later users wait for what one user took beyond the burst', () => {
    const bucket = new TokenBucket(100, 10, new VirtualClock());
    expect(bucket.take(110)).toBeCloseTo(1_000);
    expect(bucket.take(1)).toBeCloseTo(1_010);
  });

  it('A token bucket forgets what is given back', () => {
    const bucket = new TokenBucket(100, 10, new VirtualClock());
    bucket.take(20);
    bucket.giveBack(10);
    expect(bucket.take(1)).toBeCloseTo(10);
  });
});
