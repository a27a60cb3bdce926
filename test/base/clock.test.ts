import { expect, it } from 'vitest';
import { systemClock, type Timer } from '../../src/base/clock.ts';

it('The clock fires a timer once, and once more when it is restarted', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let fired = 0;
  const timer: Timer = systemClock.setTimer(1, () => {
    if (++fired < 3) timer.restart();
    else resolve();
  });
  await promise;
  expect(fired).toBe(3);
  timer.cancel();
});

it('The clock does not fire a timer that was cancelled after its restart', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let fired = 0;
  const timer: Timer = systemClock.setTimer(1, () => {
    fired++;
    timer.restart();
    timer.cancel();
    systemClock.setTimer(5, resolve);
  });
  // A timer of the clock keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  await promise;
  clearInterval(alive);
  expect(fired).toBe(1);
});
