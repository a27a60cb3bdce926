import * as fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { Fleet, type Transfer } from '../../testkit/world/simulated-fleet.ts';

const timeoutMs = 120_000;

type Fault =
  | { readonly kind: 'kill broker'; readonly which: number; readonly forMs: number }
  | { readonly kind: 'drain broker'; readonly which: number; readonly forMs: number }
  | { readonly kind: 'cut agent' | 'cut dialer'; readonly which: number }
  | {
      readonly kind: 'silence agent' | 'silence dialer';
      readonly which: number;
      readonly ownMs: number;
      readonly otherMs: number;
    }
  | {
      readonly kind: 'stall agent' | 'stall dialer';
      readonly which: number;
      readonly forMs: number;
    }
  | { readonly kind: 'replace agent'; readonly forMs: number; readonly newId: boolean };

interface Schedule {
  readonly seed: number;
  readonly replicas: number;
  readonly tunnels: number;
  readonly transfers: readonly {
    readonly atMs: number;
    readonly dialer: number;
    readonly bytes: number;
    readonly back: number;
    /** When the dialer stops the transfer, in milliseconds from its start. */
    readonly stopAfterMs: number | undefined;
  }[];
  readonly faults: readonly (Fault & { readonly atMs: number })[];
}

const ms = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
const which = fc.nat(7);
const gentle = fc.oneof(
  fc.record({ kind: fc.constant('kill broker' as const), which, forMs: ms(1_000) }),
  fc.record({ kind: fc.constant('drain broker' as const), which, forMs: ms(1_000) }),
  fc.record({ kind: fc.constantFrom('cut agent' as const, 'cut dialer' as const), which }),
);
const harsh = fc.oneof(
  gentle,
  fc.record({
    kind: fc.constantFrom('silence agent' as const, 'silence dialer' as const),
    which,
    ownMs: ms(8_000),
    otherMs: ms(8_000),
  }),
  fc.record({
    kind: fc.constantFrom('stall agent' as const, 'stall dialer' as const),
    which,
    forMs: ms(4_000),
  }),
  fc.record({ kind: fc.constant('replace agent' as const), forMs: ms(2_000), newId: fc.boolean() }),
);

function schedules(fault: fc.Arbitrary<Fault>): fc.Arbitrary<Schedule> {
  const atMs = fc.oneof(ms(300), ms(3_000));
  const bytes = fc.oneof(fc.constantFrom(0, 1), ms(60_000), ms(400_000));
  return fc.record({
    seed: fc.nat(),
    replicas: fc.integer({ min: 1, max: 3 }),
    tunnels: fc.integer({ min: 1, max: 2 }),
    transfers: fc.array(
      fc.record({
        atMs,
        dialer: fc.nat(1),
        bytes,
        back: bytes,
        stopAfterMs: fc.option(ms(3_000), { nil: undefined, freq: 3 }),
      }),
      { minLength: 1, maxLength: 5 },
    ),
    faults: fc
      .array(fc.tuple(fault, atMs), { minLength: 1, maxLength: 6 })
      .map((faults) => faults.map(([what, at]) => ({ ...what, atMs: at + 30 }))),
  });
}

function strike(fleet: Fleet, fault: Fault): void {
  const { clock, replicas, agentLinks, dialerLinks } = fleet;
  const at = 'which' in fault ? fault.which : 0;
  const links = fault.kind.endsWith('agent') ? agentLinks : dialerLinks;
  // The newest links are in use.
  const link = links.at(-1 - (at % Math.min(links.length, 3)));
  switch (fault.kind) {
    case 'kill broker': {
      const replica = replicas[at % replicas.length]!;
      replica.kill();
      clock.setTimer(fault.forMs, () => replica.start());
      return;
    }
    case 'drain broker': {
      const replica = replicas[at % replicas.length]!;
      void replica.drain(2_000).then(() => clock.setTimer(fault.forMs, () => replica.start()));
      return;
    }
    case 'cut agent':
    case 'cut dialer':
      return link?.cut();
    case 'silence agent':
    case 'silence dialer':
      return link?.silence(fault.ownMs, fault.otherMs);
    case 'stall agent':
    case 'stall dialer': {
      const end = at % 2 === 0 ? link : link?.other;
      end?.stall();
      clock.setTimer(fault.forMs, () => end?.unstall());
      return;
    }
    case 'replace agent': {
      const old = fleet.agent;
      if (!old.alive) return;
      old.kill();
      const id = fault.newId ? `agent-${fleet.agents.length}` : old.id;
      clock.setTimer(fault.forMs, () => fleet.startAgent(id));
    }
  }
}

async function run(schedule: Schedule): Promise<Fleet> {
  const fleet = new Fleet(schedule.seed, { ...schedule, dialers: 2 });
  vi.spyOn(Math, 'random').mockImplementation(fleet.random);
  await fleet.clock.advance(100);
  for (const { atMs, dialer, bytes, back, stopAfterMs } of schedule.transfers) {
    fleet.clock.setTimer(atMs, () => {
      const { dialed } = fleet.open(dialer, { bytes }, { bytes: back });
      if (stopAfterMs === undefined) return;
      fleet.clock.setTimer(stopAfterMs, () => dialed.stopReceiving());
    });
  }
  for (const fault of schedule.faults) fleet.clock.setTimer(fault.atMs, () => strike(fleet, fault));
  // Longer than all grace periods and timeouts together, so everything must be over.
  await fleet.clock.advance(150_000);
  return fleet;
}

function isOpened({ dialed }: Transfer): boolean {
  return dialed.events.includes('opened');
}

/** The defects of a stream that no fault excuses. */
function problemsOf(transfer: Transfer, at: number): string[] {
  const { dialed, accepted } = transfer;
  const problems: string[] = [];
  for (const stream of [dialed, ...accepted]) {
    const name = `stream ${at} at the ${stream === dialed ? 'dialer' : 'agent'}`;
    const { closes, events, firstWrongByte } = stream;
    if (closes.length !== 1) problems.push(`${name} ended ${closes.length} times`);
    if (events.includes('data after stopReceiving'))
      problems.push(`${name} was given what it did not want`);
    if (events.includes('after the end')) problems.push(`${name} was told something after its end`);
    if (firstWrongByte !== undefined)
      problems.push(`${name} got a wrong byte at ${firstWrongByte}`);
  }
  if (dialed.ending === 'ok') {
    const gotAll = dialed.receivedBytes === transfer.back.bytes;
    if (!gotAll && !dialed.wantsNoMore) problems.push(`stream ${at} got too little`);
    const complete = accepted.filter(({ ending }) => ending === 'ok');
    if (complete.length !== 1) problems.push(`stream ${at} was complete ${complete.length} times`);
    if (complete[0]?.receivedBytes !== dialed.writtenBytes)
      problems.push(`stream ${at} lost bytes`);
  }
  return problems;
}

/** The resources that remain after all programs have ended. */
async function leftOf(fleet: Fleet): Promise<object> {
  const streams = fleet.dialers.map(({ streamCount }) => streamCount);
  await fleet.close();
  return {
    streams,
    sessions: fleet.dialers.map(({ sessionCount }) => sessionCount),
    agentSessions: fleet.agents.map(({ sessions }) => sessions.size),
    slabBytes: fleet.agents.map(({ pool }) => pool.inUseBytes),
    timers: fleet.clock.pendingTimers,
    callbacksInsideVerbs: fleet.guard.breaches,
    broken: fleet.broken,
  };
}

function nothing(fleet: Fleet): object {
  const zeros = (list: readonly unknown[]): number[] => list.map(() => 0);
  return {
    streams: zeros(fleet.dialers),
    sessions: zeros(fleet.dialers),
    agentSessions: zeros(fleet.agents),
    slabBytes: zeros(fleet.agents),
    timers: 0,
    callbacksInsideVerbs: [],
    broken: [],
  };
}

afterEach(() => vi.restoreAllMocks());

describe('Dialers, brokers, a directory and an agent', () => {
  it(
    'The simulation loses no open stream to brokers that die or drain, nor to links that are cut',
    async () => {
      await fc.assert(
        fc.asyncProperty(schedules(gentle), async (schedule) => {
          const fleet = await run(schedule);
          expect(fleet.transfers.flatMap(problemsOf)).toEqual([]);
          const opened = fleet.transfers.filter(isOpened);
          expect(opened.map(({ dialed }) => dialed.closes)).toEqual(opened.map(() => [undefined]));
          expect(await leftOf(fleet)).toEqual(nothing(fleet));
        }),
        { numRuns: 1_500 },
      );
    },
    timeoutMs,
  );

  it(
    'The simulation delivers right bytes or a reason, and leaves nothing, through silence, delays and a new agent',
    async () => {
      const count = { streams: 0, survived: 0 };
      await fc.assert(
        fc.asyncProperty(schedules(harsh), async (schedule) => {
          const fleet = await run(schedule);
          expect(fleet.transfers.flatMap(problemsOf)).toEqual([]);
          const replaced = fleet.agents.length > 1;
          const errors = fleet.transfers.filter(isOpened).map(({ dialed }) => dialed.closes[0]);
          const lost = errors.filter((error) => error !== undefined);
          expect(lost.filter((error) => !isGoodReason(error, replaced))).toEqual([]);
          count.streams += errors.length;
          count.survived += errors.length - lost.length;
          expect(await leftOf(fleet)).toEqual(nothing(fleet));
        }),
        { numRuns: 1_500 },
      );
      expect(count.streams).toBeGreaterThan(1_000);
      expect(count.survived / count.streams).toBeGreaterThan(0.8);
    },
    timeoutMs,
  );
});

/** Only a dead agent, or a route that did not return in time, ends an open stream. */
function isGoodReason({ code, message }: TunnelError, replaced: boolean): boolean {
  if (message.includes('no way back to the agent within')) return true;
  return replaced && code === 'agent_lost' && message.includes('does not have the session');
}
