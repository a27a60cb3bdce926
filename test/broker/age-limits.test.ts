import { describe, expect, it, vi } from 'vitest';
import { AgeLimits } from '../../src/broker/age-limits.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const maxAgeMs = 30 * 60_000;
const { ageJitter, retireMs } = relayLimits;
/** Limits are reached in whole seconds. */
const oldestMs = maxAgeMs * (1 + ageJitter) + 1_000;

class Tunnel {
  readonly events: string[] = [];
  retiredAtMs: number | undefined;
  readonly link = { close: (error?: TunnelError) => void this.events.push(`close ${error?.code}`) };
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get retiring(): boolean {
    return this.retiredAtMs !== undefined;
  }

  retire(deadlineMs: number): void {
    this.events.push(`retire ${deadlineMs}`);
    this.retiredAtMs = this.#clock.now();
  }
}

function tunnelsAtLimit(count: number, limitMs = maxAgeMs) {
  const clock = new VirtualClock();
  const limits = new AgeLimits(clock, limitMs);
  const tunnels = Array.from({ length: count }, () => new Tunnel(clock));
  for (const tunnel of tunnels) limits.start(tunnel);
  return { clock, limits, tunnels };
}

describe('Age limits', () => {
  it('Age limits retire each tunnel at an age of its own, and closes it a minute later', () => {
    const { clock, tunnels } = tunnelsAtLimit(50);
    clock.advanceSync(maxAgeMs * (1 - ageJitter) - 1);
    expect(tunnels.flatMap(({ events }) => events)).toEqual([]);
    clock.advanceSync(oldestMs + retireMs + 1_000);
    for (const { events } of tunnels)
      expect(events).toEqual([`retire ${retireMs}`, 'close draining']);
    const ages = tunnels.map(({ retiredAtMs }) => retiredAtMs!);
    expect(new Set(ages).size).toBeGreaterThan(25);
    expect(Math.max(...ages)).toBeLessThanOrEqual(oldestMs);
  });

  it('Age limits close a retired tunnel only after the time in which its sessions move', () => {
    const { clock, tunnels } = tunnelsAtLimit(1);
    const [tunnel] = tunnels as [Tunnel];
    while (!tunnel.retiring) clock.advanceSync(1_000);
    clock.advanceSync(retireMs - 1_000);
    expect(tunnel.events).toEqual([`retire ${retireMs}`]);
    clock.advanceSync(2_000);
    expect(tunnel.events).toEqual([`retire ${retireMs}`, 'close draining']);
  });

  it('Age limits leave a tunnel alone whose limit was cancelled, before and after it retired', () => {
    const { clock, limits, tunnels } = tunnelsAtLimit(2);
    const [gone, retired] = tunnels as [Tunnel, Tunnel];
    limits.cancel(gone);
    while (!retired.retiring) clock.advanceSync(1_000);
    limits.cancel(retired);
    clock.advanceSync(2 * oldestMs);
    expect(gone.events).toEqual([]);
    expect(retired.events).toEqual([`retire ${retireMs}`]);
  });

  it('Age limits serve all tunnels with one timer, which is gone with the last tunnel', () => {
    const { clock, tunnels } = tunnelsAtLimit(1_000);
    expect(clock.pendingTimers).toBe(1);
    clock.advanceSync(oldestMs + retireMs + 1_000);
    expect(tunnels.every(({ events }) => events.length === 2)).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['first', [0, 1]],
    ['last', [1, 0]],
  ] as const)(
    'Age limits retire a tunnel in time that started %s and has the lowest limit',
    (_, draws) => {
      using random = vi.spyOn(Math, 'random');
      for (const draw of draws) random.mockReturnValueOnce(draw);
      const { clock, tunnels } = tunnelsAtLimit(2);
      expect(random).toHaveBeenCalledTimes(2);
      clock.advanceSync(maxAgeMs * (1 - ageJitter) + 1_000);
      const retired = tunnels.map(({ events }) => events.length);
      expect(retired).toEqual(draws.map((draw) => 1 - draw));
    },
  );

  it('Age limits have no timer after the last limit was cancelled', () => {
    const { clock, limits, tunnels } = tunnelsAtLimit(2);
    for (const tunnel of tunnels) limits.cancel(tunnel);
    expect(clock.pendingTimers).toBe(0);
  });

  it('Age limits set no timer for tunnels without a limit', () => {
    expect(tunnelsAtLimit(3, Infinity).clock.pendingTimers).toBe(0);
  });
});
