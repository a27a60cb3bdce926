import { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  type ConnectAttempt,
  ConnectError,
  connectFirst,
} from '../../../src/base/net/connect-first.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

/** A race whose sockets answer when the test tells them to. */
function race(
  addresses: readonly string[],
  {
    withinMs = 5_000,
    late,
    hasRoom = () => true,
  }: { withinMs?: number; late?: Promise<readonly string[]>; hasRoom?: () => boolean } = {},
) {
  const clock = new VirtualClock(5);
  const sockets = new Map<string, Socket>();
  const startedAtMs: [string, number][] = [];
  const attempts: ConnectAttempt[] = [];
  const over = new AbortController();
  const connected = connectFirst(
    { addresses, late },
    {
      connect: (address) => {
        const socket = new Socket();
        sockets.set(address, socket);
        startedAtMs.push([address, clock.now()]);
        return socket;
      },
      clock,
      signal: over.signal,
      withinMs,
      hasRoom,
      attempts,
    },
  );
  connected.catch(() => {});
  const answer = (address: string) => sockets.get(address)!.emit('connect');
  const fail = (address: string, code: string) =>
    sockets.get(address)!.emit('error', Object.assign(new Error(code), { code }));
  const open = () => [...sockets].filter(([, { destroyed }]) => !destroyed).map(([name]) => name);
  return { clock, connected, startedAtMs, attempts, over, answer, fail, open };
}

describe('connectFirst', () => {
  it('connectFirst starts the next address every 300 ms, and IPv4 and IPv6 alternate', async () => {
    const { clock, startedAtMs } = race(['10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2']);
    await clock.advance(5_000);
    expect(startedAtMs).toEqual([
      ['10.0.0.1', 0],
      ['fd00::1', 300],
      ['10.0.0.2', 600],
      ['fd00::2', 900],
    ]);
  });

  it('connectFirst starts the next address at once when one has failed', async () => {
    const { clock, startedAtMs, fail } = race(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    fail('10.0.0.1', 'ECONNREFUSED');
    await clock.advance(0);
    expect(startedAtMs.at(-1)).toEqual(['10.0.0.2', 0]);
    await clock.advance(300);
    fail('10.0.0.2', 'ECONNREFUSED');
    expect(startedAtMs).toHaveLength(3);
    expect(clock.pendingTimers).toBe(0);
  });

  it('connectFirst uses an address that answers long after later ones were started', async () => {
    const { clock, connected, answer, open } = race(['10.0.0.1', 'fd00::1', 'fd00::2']);
    await clock.advance(1_000);
    answer('10.0.0.1');
    const { socket, address } = await connected;
    expect([address, socket.destroyed, clock.pendingTimers]).toEqual(['10.0.0.1', false, 0]);
    expect(open()).toEqual(['10.0.0.1']);
  });

  it('connectFirst fails when every address has failed, and reports the error of each address', async () => {
    const { connected, attempts, fail } = race(['10.0.0.1', 'fd00::1']);
    fail('10.0.0.1', 'ECONNREFUSED');
    fail('fd00::1', 'ENETUNREACH');
    await expect(connected).rejects.toBeInstanceOf(ConnectError);
    expect(attempts).toMatchObject([
      { address: '10.0.0.1', error: { code: 'ECONNREFUSED' } },
      { address: 'fd00::1', error: { code: 'ENETUNREACH' } },
    ]);
  });

  it('connectFirst closes every attempt when the signal aborts', async () => {
    const { clock, connected, over, open } = race(['10.0.0.1', '10.0.0.2']);
    await clock.advance(300);
    over.abort(new Error('enough'));
    await expect(connected).rejects.toThrow('enough');
    expect([open(), clock.pendingTimers]).toEqual([[], 0]);
  });

  it('connectFirst starts addresses at shorter intervals when time is short, and never tries more than ten', async () => {
    const addresses = Array.from({ length: 30 }, (_, i) => `10.0.0.${i + 1}`);
    const { clock, startedAtMs } = race(addresses, { withinMs: 1_100 });
    await clock.advance(900);
    expect(startedAtMs).toHaveLength(10);
    await clock.advance(10_000);
    expect(startedAtMs).toHaveLength(10);
  });

  it('connectFirst tries addresses of the other family that are found late', async () => {
    const late = Promise.withResolvers<readonly string[]>();
    const { clock, connected, answer, fail } = race(['10.0.0.1'], { late: late.promise });
    fail('10.0.0.1', 'ENETUNREACH');
    await clock.advance(1_000);
    late.resolve(['fd00::1']);
    await clock.advance(0);
    answer('fd00::1');
    expect(await connected).toMatchObject({ address: 'fd00::1' });
  });

  it('connectFirst fails when no address is found late', async () => {
    const late = Promise.withResolvers<readonly string[]>();
    const { connected, fail } = race(['10.0.0.1'], { late: late.promise });
    fail('10.0.0.1', 'ENETUNREACH');
    late.resolve([]);
    await expect(connected).rejects.toBeInstanceOf(ConnectError);
  });

  it('connectFirst runs two attempts at a time when the process has no room for more', async () => {
    const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'];
    const { clock, startedAtMs, fail, open } = race(addresses, { hasRoom: () => false });
    await clock.advance(2_000);
    expect(open()).toEqual(['10.0.0.1', '10.0.0.2']);
    fail('10.0.0.1', 'EHOSTUNREACH');
    expect(startedAtMs.at(-1)).toEqual(['10.0.0.3', 2_000]);
    fail('10.0.0.2', 'EHOSTUNREACH');
    fail('10.0.0.3', 'EHOSTUNREACH');
    expect(startedAtMs.at(-1)).toEqual(['10.0.0.4', 2_000]);
  });
});
