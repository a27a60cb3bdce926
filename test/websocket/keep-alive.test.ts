import { describe, expect, it } from 'vitest';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { KeepAlive, type KeepAliveOptions } from '../../src/websocket/keep-alive.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

function start(role: KeepAliveOptions['role'], options: Partial<KeepAliveOptions> = {}) {
  const clock = new VirtualClock();
  const events: string[] = [];
  const at = (what: string) => events.push(`${what} ${clock.now()}`);
  const keepAlive = new KeepAlive(
    { random: () => 0.5, ...options, role, clock },
    {
      ping: () => at('ping'),
      reassure: () => at('reassure'),
      dead: (error: TunnelError) => at(error.code),
    },
  );
  return { clock, events, keepAlive };
}

describe('KeepAlive', () => {
  it('half-dead TCP: the keep-alive pings every 20 s and gives up after two pings without an answer', async () => {
    const { clock, events } = start('pings');
    await clock.runUntilIdle();
    expect(events).toEqual(['ping 20000', 'ping 40000', 'peer_unresponsive 50000']);
  });

  it('The keep-alive continues while messages arrive, and counts only consecutive misses', async () => {
    const { clock, events, keepAlive } = start('pings');
    for (let round = 0; round < 20; round++) {
      await clock.advance(29_000);
      keepAlive.bytesArrived();
    }
    expect(events.length).toBeGreaterThan(20);
    expect(events.every((event) => event.startsWith('ping'))).toBe(true);
    await clock.runUntilIdle();
    expect(events.at(-1)).toMatch(/^peer_unresponsive/);
  });

  it.each([
    [0, 16_000],
    [0.25, 18_000],
    [0.999_999, 24_000],
  ])(
    'The keep-alive varies each interval by up to a fifth: random %d gives %d ms',
    async (random, firstMs) => {
      const { clock, events } = start('pings', { random: () => random });
      await clock.advance(firstMs - 1);
      expect(events).toEqual([]);
      await clock.advance(1);
      expect(events).toHaveLength(1);
    },
  );

  it('The keep-alive obeys its interval and number of misses', async () => {
    const { clock, events } = start('pings', { pingIntervalMs: 100, missedPings: 1 });
    await clock.runUntilIdle();
    expect(events).toEqual(['ping 100', 'peer_unresponsive 200']);
  });

  it('The keep-alive finds a peer that vanishes within a minute, for all random intervals', async () => {
    const { clock, events, keepAlive } = start('pings', { random: () => 0.999_999 });
    await clock.advance(24_000);
    keepAlive.bytesArrived();
    const vanishedAtMs = clock.now();
    await clock.runUntilIdle();
    expect(events.at(-1)).toMatch(/^peer_unresponsive/);
    expect(clock.now() - vanishedAtMs).toBeLessThan(60_000);
  });

  it('The keep-alive of the answering end gives up a silent peer exactly after two and a half intervals', async () => {
    const { clock, events, keepAlive } = start('answers');
    await clock.advance(40_123);
    keepAlive.bytesArrived();
    await clock.advance(49_999);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual(['peer_unresponsive 90123']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('The keep-alive does not count silence while the owner does not read, and still shows the peer that it lives', async () => {
    const { clock, events, keepAlive } = start('answers');
    keepAlive.pause();
    await clock.advance(100_000);
    expect(events).toEqual([1, 2, 3, 4, 5].map((tick) => `reassure ${tick * 20_000}`));
    keepAlive.resume();
    await clock.runUntilIdle();
    expect(events.at(-1)).toBe('peer_unresponsive 150000');

    const pinging = start('pings');
    pinging.keepAlive.pause();
    await pinging.clock.advance(100_000);
    expect(pinging.events.every((event) => event.startsWith('ping'))).toBe(true);
    pinging.keepAlive.resume();
    await pinging.clock.runUntilIdle();
    expect(pinging.events.at(-1)).toBe('peer_unresponsive 150000');
  });

  it('The keep-alive pings at once on request, and then gives up after one interval without an answer', async () => {
    const { clock, events, keepAlive } = start('pings');
    await clock.advance(12_000);
    keepAlive.probe();
    keepAlive.probe();
    await clock.runUntilIdle();
    expect(events).toEqual(['ping 12000', 'peer_unresponsive 32000']);
  });

  it('The keep-alive waits for the ping that is on its way when it is asked to ping', async () => {
    const { clock, events, keepAlive } = start('pings');
    await clock.advance(35_000);
    keepAlive.probe();
    await clock.runUntilIdle();
    expect(events).toEqual(['ping 20000', 'peer_unresponsive 40000']);
  });

  it('The keep-alive continues normally after the answer to a requested ping, and does not ping while the owner does not read', async () => {
    const { clock, events, keepAlive } = start('pings');
    await clock.advance(12_000);
    keepAlive.probe();
    await clock.advance(1_000);
    keepAlive.bytesArrived();
    keepAlive.pause();
    keepAlive.probe();
    keepAlive.resume();
    await clock.runUntilIdle();
    expect(events).toEqual(['ping 12000', 'ping 32000', 'ping 52000', 'peer_unresponsive 62000']);
    const answering = start('answers');
    answering.keepAlive.probe();
    keepAlive.probe();
    await answering.clock.advance(49_999);
    expect([answering.events, clock.pendingTimers]).toEqual([[], 0]);
  });

  it.each(['pings', 'answers'] as const)(
    'The keep-alive keeps one timer, and no timer when stopped: %s',
    async (role) => {
      const { clock, events, keepAlive } = start(role);
      for (let tick = 0; tick < 10; tick++) {
        expect(clock.pendingTimers).toBe(1);
        keepAlive.bytesArrived();
        await clock.advance(20_000);
      }
      keepAlive.stop();
      keepAlive.stop();
      const before = events.length;
      await clock.runUntilIdle();
      expect(clock.pendingTimers).toBe(0);
      expect(events).toHaveLength(before);
    },
  );
});
