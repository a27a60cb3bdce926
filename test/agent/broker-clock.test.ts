import { describe, expect, it } from 'vitest';
import { BrokerClock, maxCorrectionMs } from '../../src/agent/broker-clock.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';

const localMs = Date.parse('2026-01-01T00:00:00Z');

function start() {
  const lines: Record<string, unknown>[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (event, fields) => lines.push({ event, ...fields }),
  };
  const clock = new BrokerClock(log, () => localMs);
  const observe = (differenceMs: number, elapsedMs = 0) =>
    clock.observe(localMs + differenceMs, elapsedMs);
  return { clock, lines, observe, ahead: () => clock.now().getTime() - localMs };
}

describe('BrokerClock', () => {
  it("The broker clock shows this machine's time until the broker has sent another time", () => {
    const { clock, ahead } = start();
    expect([ahead(), clock.differenceMs, clock.correctionMs]).toEqual([0, 0, 0]);
  });

  it.each([600_000, -600_000, maxCorrectionMs, -maxCorrectionMs])(
    'The broker clock follows a broker that is %d ms ahead',
    (differenceMs) => {
      const { clock, observe, ahead } = start();
      observe(differenceMs);
      expect([ahead(), clock.differenceMs]).toEqual([differenceMs, differenceMs]);
      expect(clock.localTime().getTime()).toBe(localMs);
    },
  );

  it.each([maxCorrectionMs + 1, -maxCorrectionMs - 1, 365 * 86_400_000, -(10 ** 12)])(
    'The broker clock logs and ignores a broker time that is %d ms ahead, because it may be forged',
    (differenceMs) => {
      const { clock, observe, ahead, lines } = start();
      observe(600_000);
      observe(differenceMs);
      expect([ahead(), clock.differenceMs]).toEqual([0, differenceMs]);
      observe(0);
      observe(differenceMs);
      expect(lines.at(-1)?.['next']).toMatch(/more than 3600 s are not corrected/);
    },
  );

  it('The broker clock measures in the middle between request and answer, and ignores small changes', () => {
    const { clock, observe, ahead } = start();
    observe(60_000, 2_000);
    expect(clock.differenceMs).toBe(61_000);
    observe(63_000);
    expect([ahead(), clock.differenceMs]).toEqual([61_000, 63_000]);
    observe(67_000);
    expect(ahead()).toBe(67_000);
    observe(4_000);
    expect(ahead()).toBe(0);
  });

  it('The broker clock reports a difference of more than 30 s once, and again after the time was right', () => {
    const { lines, observe } = start();
    for (const differenceMs of [29_000, 31_000, 90_000, 0, -31_000]) observe(differenceMs);
    expect(lines).toMatchObject([
      { event: 'the clocks of agent and broker differ', brokerAheadS: 31 },
      { event: 'the clocks of agent and broker differ', brokerAheadS: -31 },
    ]);
  });
});
