import { describe, expect, it } from 'vitest';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { ReceiveWindow } from '../../src/tunnel/receive-window.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';

const mebibyte = 1024 * 1024;
const roomy = (): WindowBudget => new WindowBudget(1024 * mebibyte);

function windowOf(initialBytes: number, budget = roomy(), maxBytes = 16 * mebibyte): ReceiveWindow {
  return new ReceiveWindow({ initialBytes, minBytes: 100, maxBytes: () => maxBytes, budget });
}

/** Fills the window. The reader takes half of it `afterMs` later, and a CREDIT is sent. */
function cycle(window: ReceiveWindow, nowMs: number, roundTripMs: number | undefined): void {
  const half = window.windowBytes / 2;
  window.arrived(half);
  if (window.take(half, nowMs, roundTripMs)) window.advertised();
}

describe('ReceiveWindow', () => {
  it('The receive window grants nothing for bytes that arrive, only for bytes that are taken', () => {
    const window = windowOf(1000);
    window.arrived(600);
    expect(window.limit).toBe(1000);
    expect(window.roomBytes).toBe(400);
    window.take(600, 0, undefined);
    expect(window.limit).toBe(1600);
    expect(window.roomBytes).toBe(1000);
  });

  it.each([
    { windowBytes: mebibyte, stepBytes: mebibyte / 4 },
    { windowBytes: 128 * 1024, stepBytes: 32 * 1024 },
    { windowBytes: 64 * 1024, stepBytes: 32 * 1024 },
    { windowBytes: 16 * 1024, stepBytes: 8 * 1024 },
  ])(
    'The receive window of $windowBytes bytes updates the sender exactly when $stepBytes are free again',
    ({ windowBytes, stepBytes }) => {
      const window = windowOf(windowBytes);
      window.arrived(windowBytes);
      for (let update = 0; update < 2; update++) {
        expect(window.take(stepBytes - 1, 0, undefined)).toBe(false);
        expect(window.take(1, 0, undefined)).toBe(true);
        window.advertised();
      }
    },
  );

  it('The receive window acknowledges at once when half a window has arrived since the last update', () => {
    const window = windowOf(1000);
    expect(window.arrived(499)).toBe(false);
    expect(window.hasUnadvertised).toBe(true);
    expect(window.arrived(1)).toBe(true);
    window.advertised();
    expect(window.hasUnadvertised).toBe(false);
    expect(window.arrived(499)).toBe(false);
  });

  it('The receive window never grants more than arrived, even if the reader reports that it took more', () => {
    const window = windowOf(1000);
    window.arrived(10);
    window.take(5_000, 0, undefined);
    expect(window.limit).toBe(1010);
    expect(window.unreadBytes).toBe(0);
  });

  it('The receive window doubles when half of it is taken within two round trips', () => {
    const window = windowOf(1000);
    cycle(window, 39, 20);
    expect(window.windowBytes).toBe(2000);
    expect(window.limit).toBe(500 + 2000);
  });

  it('The receive window stays the same when half of it takes two round trips or longer', () => {
    const window = windowOf(1000);
    cycle(window, 40, 20);
    expect(window.windowBytes).toBe(1000);
  });

  it('The receive window measures each half window separately, so an early slow period does not count', () => {
    const window = windowOf(1000);
    cycle(window, 5_000, 20);
    cycle(window, 5_039, 20);
    expect(window.windowBytes).toBe(2000);
  });

  it('The receive window does not grow before the round trip is known', () => {
    const window = windowOf(1000);
    cycle(window, 0, undefined);
    expect(window.windowBytes).toBe(1000);
  });

  it('The receive window grows from 256 KiB to 16 MiB in six doublings and no further', () => {
    const window = windowOf(256 * 1024);
    const sizes: number[] = [];
    for (let turn = 0; turn < 8; turn++) {
      cycle(window, turn, 20);
      sizes.push(window.windowBytes / 1024);
    }
    expect(sizes).toEqual([512, 1024, 2048, 4096, 8192, 16_384, 16_384, 16_384]);
  });

  it('The receive window grows up to a maximum that is no power-of-two multiple of its start', () => {
    const window = windowOf(1000, roomy(), 1500);
    cycle(window, 1, 20);
    expect(window.windowBytes).toBe(1500);
  });

  it('The receive window does not grow past the budget of its session', () => {
    const budget = new WindowBudget(2999);
    const first = windowOf(1000, budget);
    windowOf(1000, budget);
    cycle(first, 1, 20);
    expect(first.windowBytes).toBe(1000);
    expect(budget.grantedBytes).toBe(2000);
  });

  it('The receive window does not grow past the budget of the process, even if its session has room', () => {
    const process = new WindowBudget(2500);
    const first = windowOf(1000, new WindowBudget(mebibyte, process));
    windowOf(1000, new WindowBudget(mebibyte, process));
    cycle(first, 1, 20);
    expect(first.windowBytes).toBe(1000);
    expect(process.grantedBytes).toBe(2000);
  });

  it('The receive window starts with at most 64 KiB once an eighth of the budget is used', () => {
    const budget = new WindowBudget(2 * mebibyte);
    const starts = Array.from({ length: 4 }, () => windowOf(128 * 1024, budget).windowBytes / 1024);
    expect(starts).toEqual([128, 128, 128, 64]);
  });

  it('The receive windows of 900 streams have 64 KiB each in the budget of a session', () => {
    const { sessionBudgetBytes, initialWindowBytes } = defaultLimits;
    const budget = new WindowBudget(sessionBudgetBytes);
    const windows = Array.from({ length: 900 }, () => windowOf(initialWindowBytes, budget));
    expect(Math.min(...windows.map((window) => window.windowBytes))).toBe(64 * 1024);
    expect(budget.grantedBytes).toBeLessThanOrEqual(sessionBudgetBytes);
  });

  it('The receive window leaves half of the free budget to other streams when it grows', () => {
    const window = windowOf(mebibyte, new WindowBudget(5 * mebibyte));
    cycle(window, 1, 20);
    expect(window.windowBytes).toBe(2 * mebibyte);
    cycle(window, 2, 20);
    expect(window.windowBytes).toBe(2 * mebibyte);
  });

  it('The receive window starts with the rest of the budget, but never below the minimum', () => {
    const budget = new WindowBudget(1300);
    expect(windowOf(1000, budget).windowBytes).toBe(1000);
    expect(windowOf(1000, budget).windowBytes).toBe(300);
    expect(windowOf(1000, budget).windowBytes).toBe(100);
    expect(budget.grantedBytes).toBe(1400);
    expect(budget.freeBytes).toBe(0);
  });

  it('The receive window returns a grown window to both budgets when it closes, once', () => {
    const process = new WindowBudget(mebibyte);
    const session = new WindowBudget(mebibyte, process);
    const window = windowOf(1000, session);
    cycle(window, 1, 20);
    expect(process.grantedBytes).toBe(2000);
    window.close();
    window.close();
    expect(session.grantedBytes).toBe(0);
    expect(process.grantedBytes).toBe(0);
  });
});
