import { afterEach, expect, it, vi } from 'vitest';
import { Fleet } from '../../testkit/world/simulated-fleet.ts';

const nothing = { bytes: 0, end: 'nothing' } as const;

afterEach(() => vi.restoreAllMocks());

it('A rolling restart that is faster than the agents fails no dial and loses no stream', async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const fleet = new Fleet(seed, { replicas: 3, tunnels: 2, dialers: 2 });
    vi.spyOn(Math, 'random').mockImplementation(fleet.random);
    await fleet.clock.advance(3_000);
    fleet.agentDelayMs = 6_000;
    let dialCount = 0;
    const dialFor = async (ms: number) => {
      for (const endMs = fleet.clock.now() + ms; fleet.clock.now() < endMs; dialCount++) {
        const { dialed } = fleet.open(dialCount % 2, nothing, nothing);
        // Most streams are short, some live through everything.
        if (dialCount % 10 !== 0) fleet.clock.setTimer(700, () => dialed.reset('cancelled'));
        await fleet.clock.advance(50);
      }
    };
    await dialFor(500);
    for (const replica of fleet.replicas) {
      void replica.drain(10_000);
      while (replica.relay !== undefined) await dialFor(50);
      replica.start();
    }
    await dialFor(1_000);
    await fleet.clock.advance(20_000);
    const ends = fleet.transfers.map(({ dialed }) => [dialed.events[0], dialed.ending]);
    const expected = fleet.transfers.map((_, at) => [
      'opened',
      at % 10 === 0 ? undefined : 'cancelled',
    ]);
    expect(ends).toEqual(expected);
  }
});
