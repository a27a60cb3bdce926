import { expect, it } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';

function settableClock(): Clock & { nowMs: number } {
  return {
    nowMs: 0,
    now() {
      return this.nowMs;
    },
    setTimer: () => ({ cancel() {}, restart() {} }),
  };
}

it('The accept rate admits the connections of one second at once and refuses the next', () => {
  const rate = new AcceptRate(3, settableClock());
  expect([rate.admit(), rate.admit(), rate.admit()]).toEqual([0, 0, 0]);
  expect(rate.admit()).toBeGreaterThan(0);
});

it('The accept rate admits again as time passes, and never saves up more than one second', () => {
  const clock = settableClock();
  const rate = new AcceptRate(2, clock);
  rate.admit();
  rate.admit();
  clock.nowMs += 500;
  expect(rate.admit()).toBe(0);
  expect(rate.admit()).toBeGreaterThan(0);
  clock.nowMs += 3_600_000;
  expect([rate.admit(), rate.admit()]).toEqual([0, 0]);
  expect(rate.admit()).toBeGreaterThan(0);
});

it('storm: is spread over as long as serving it takes', () => {
  const rate = new AcceptRate(10, settableClock(), () => 0.999);
  for (let i = 0; i < 10; i++) rate.admit();
  let last = 0;
  for (let i = 0; i < 1000; i++) last = rate.admit();
  expect(last).toBeGreaterThan(100);
  expect(last).toBeLessThanOrEqual(201);
});

it('tells no connection to wait longer than five minutes, however many are refused', () => {
  const rate = new AcceptRate(1, settableClock(), () => 0.999);
  const waits = Array.from({ length: 1000 }, () => rate.admit());
  expect(Math.max(...waits)).toBe(300);
});

it('lets connections that find the queue full come back in the second half of five minutes', () => {
  const rate = new AcceptRate(1, settableClock(), () => 0);
  for (let i = 0; i < 1000; i++) rate.admit();
  expect(rate.admit()).toBe(150);
});
