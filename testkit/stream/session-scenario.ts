import * as fc from 'fast-check';
import { maxDataBytes } from '../../src/tunnel/slab.ts';
import {
  type LinkedSessions,
  linkedSessions,
  slabBoundBytes,
  unsentHighBytes,
} from '../link/linked-sessions.ts';
import type { RecordingStream, SendPlan } from './recording-stream.ts';

const kibibyte = 1024;
const windowBytes = 32 * kibibyte;
const maxWindowBytes = 128 * kibibyte;
const smallestPieceBytes = 500;
const largestPieceBytes = 100_000;

/** The actions of one side of a stream. Times are in milliseconds from its start. */
interface Behaviour {
  readonly plan: SendPlan;
  readonly startMs: number;
  /**
   * How the reader takes: nothing until `fromMs`, then `bytes` every `everyMs`; 0 bytes: all at
   * once.
   */
  readonly reads: { readonly fromMs: number; readonly bytes: number; readonly everyMs: number };
  readonly resetAtMs: number | undefined;
  /** When its user wants no more of what the other side sends. */
  readonly stopAtMs: number | undefined;
}

export interface Scenario {
  readonly streams: readonly {
    readonly openAtMs: number;
    readonly acceptAfterMs: number;
    readonly isPatient: boolean;
    readonly dialer: Behaviour;
    readonly agent: Behaviour;
  }[];
  readonly link: {
    readonly latencyMs: readonly number[];
    readonly bytesPerMs: number;
    readonly roomBytes: number;
    readonly pieceBytes: readonly number[];
  };
  readonly stalls: readonly {
    readonly end: 'dialer' | 'agent';
    readonly atMs: number;
    readonly forMs: number;
  }[];
  readonly sessionBudgetBytes: number;
  readonly cutAtMs: number | undefined;
  /** What becomes of one link after another. */
  readonly losses: readonly {
    /** From when the sessions were on it, in milliseconds. */
    readonly afterMs: number;
    /** It is cut; else the sessions go to the next link while it works. */
    readonly cut: boolean;
    /** Until the agent is on the next link, and how much later the dialer is, in milliseconds. */
    readonly gapMs: number;
    readonly lateMs: number;
  }[];
}

export const ms = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
/** Sizes around those where something changes, and any between. */
const bytes = fc.oneof(
  fc.constantFrom(0, 1, 1023, 4070, 4071, windowBytes / 4, windowBytes - 1, windowBytes),
  fc.integer({ min: 0, max: 200 * kibibyte }),
);
const rarely = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined, freq: 3 });

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  plan: fc.record({
    bytes,
    pieceBytes: fc.oneof(
      fc.constantFrom(700, 3050, 16 * kibibyte, 70_000),
      fc.integer({ min: smallestPieceBytes, max: largestPieceBytes }),
    ),
    end: fc.constantFrom('fin', 'fin', 'fin', 'reset'),
  }),
  startMs: ms(30),
  reads: fc.record({
    fromMs: fc.oneof(fc.constant(0), ms(200)),
    bytes: fc.oneof(fc.constant(0), fc.integer({ min: 1000, max: 50_000 })),
    everyMs: fc.integer({ min: 1, max: 20 }),
  }),
  stopAtMs: fc.option(ms(120), { nil: undefined, freq: 4 }),
  resetAtMs: rarely(ms(100)).map((atMs) => (atMs === undefined || atMs > 60 ? undefined : atMs)),
});

export const scenario: fc.Arbitrary<Scenario> = fc.record({
  streams: fc.array(
    fc.record({
      openAtMs: ms(50),
      acceptAfterMs: fc.oneof(fc.constant(0), ms(40)),
      isPatient: fc.boolean(),
      dialer: behaviour,
      agent: behaviour,
    }),
    { minLength: 1, maxLength: 6 },
  ),
  link: fc.record({
    latencyMs: fc.array(ms(20), { minLength: 1, maxLength: 5 }),
    bytesPerMs: fc.constantFrom(Number.POSITIVE_INFINITY, 5_000, 100_000),
    roomBytes: fc.constantFrom(1, 20_000, 256 * kibibyte),
    pieceBytes: fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 5 }),
  }),
  stalls: fc.array(
    fc.record({
      end: fc.constantFrom('dialer', 'agent'),
      atMs: ms(100),
      forMs: fc.integer({ min: 1, max: 400 }),
    }),
    { maxLength: 3 },
  ),
  sessionBudgetBytes: fc.constantFrom(4 * kibibyte, 3 * windowBytes, 1024 * kibibyte),
  cutAtMs: fc.constant(undefined),
  losses: fc.constant([]),
});

function inTurn(values: readonly number[]): () => number {
  let at = 0;
  return () => values[at++ % values.length]!;
}

function play(sessions: LinkedSessions, stream: RecordingStream, how: Behaviour): void {
  const { clock } = sessions;
  const { fromMs, bytes, everyMs } = how.reads;
  clock.setTimer(how.startMs, () => stream.send(how.plan));
  if (fromMs > 0 || bytes > 0) {
    stream.stopReading();
    const read = (): void => {
      if (bytes === 0) return stream.readOn();
      stream.take(bytes);
      if (stream.closes.length === 0) clock.setTimer(everyMs, read);
    };
    clock.setTimer(fromMs, read);
  }
  if (how.stopAtMs !== undefined) clock.setTimer(how.stopAtMs, () => stream.stopReceiving());
  if (how.resetAtMs !== undefined) clock.setTimer(how.resetAtMs, () => stream.reset('cancelled'));
}

function loseLinks(sessions: LinkedSessions, [next, ...later]: Scenario['losses']): void {
  if (next === undefined) return;
  const { clock, dialer } = sessions;
  const { afterMs, cut, gapMs, lateMs } = next;
  clock.setTimer(afterMs, () => {
    if (cut) dialer.link.cut();
    clock.setTimer(gapMs, () => {
      sessions.relink(lateMs);
      clock.setTimer(lateMs, () => loseLinks(sessions, later));
    });
  });
}

export interface Run {
  readonly what: Scenario;
  readonly sessions: LinkedSessions;
  readonly dialed: readonly RecordingStream[];
}

export async function run(what: Scenario): Promise<Run> {
  const { link, streams } = what;
  const sessions: LinkedSessions = linkedSessions({
    resumes: what.losses.length > 0,
    latencyMs: inTurn(link.latencyMs),
    pieceBytes: inTurn(link.pieceBytes),
    bytesPerMs: link.bytesPerMs,
    roomBytes: link.roomBytes,
    limits: {
      initialWindowBytes: windowBytes,
      minWindowBytes: 4 * kibibyte,
      maxWindowBytes,
      sessionBudgetBytes: what.sessionBudgetBytes,
    },
    onAccept: (accepted) => {
      const { acceptAfterMs, isPatient, agent } = byNumber.get(accepted.stream.number)!;
      if (acceptAfterMs === 0) accepted.accept(isPatient);
      else sessions.clock.setTimer(acceptAfterMs, () => accepted.accept(isPatient));
      play(sessions, accepted, agent);
    },
  });
  const { clock } = sessions;
  const dialed: RecordingStream[] = [];
  const byNumber = new Map<number, Scenario['streams'][number]>();
  for (const stream of streams) {
    clock.setTimer(stream.openAtMs, () => {
      byNumber.set(byNumber.size + 1, stream);
      const { isPatient } = stream;
      const opened = sessions.open(undefined, undefined, { isPatient });
      dialed.push(opened);
      play(sessions, opened, stream.dialer);
    });
  }
  for (const { end, atMs, forMs } of what.stalls) {
    clock.setTimer(atMs, () => {
      const { link } = sessions[end];
      link.stall();
      clock.setTimer(forMs, () => link.unstall());
    });
  }
  if (what.cutAtMs !== undefined) clock.setTimer(what.cutAtMs, () => sessions.dialer.link.cut());
  loseLinks(sessions, what.losses);
  await clock.runUntilIdle();
  return { what, sessions, dialed };
}

/** The problems at the end of any run. */
export function problemsOf({ what, sessions, dialed }: Run): string[] {
  const problems: string[] = [];
  const check = (holds: boolean, otherwise: string): void => {
    if (!holds) problems.push(otherwise);
  };
  for (const stream of [...dialed, ...sessions.accepted.values()]) {
    const { closes, events, firstWrongByte, peakUnreadBytes } = stream;
    const name = `stream ${stream.stream.number}`;
    check(closes.length === 1, `${name} ended ${closes.length} times`);
    check(!events.includes('after the end'), `${name} was told something after its end`);
    check(!events.includes('data after stopReceiving'), `${name} was given what it did not want`);
    check(events.filter((event) => event === 'stopped').length <= 1, `${name} was stopped twice`);
    check(!events.includes('empty piece'), `${name} was given an empty piece`);
    check(firstWrongByte === undefined, `${name} got a wrong byte at ${firstWrongByte}`);
    check(peakUnreadBytes <= maxWindowBytes, `${name} had ${peakUnreadBytes} bytes unread`);
  }
  const keptBytes = maxWindowBytes + unsentHighBytes + largestPieceBytes;
  const slabBytes = what.streams.length * slabBoundBytes(keptBytes, keptBytes / smallestPieceBytes);
  // One frame more than there is room, and control frames go out together.
  const queuedBytes = what.link.roomBytes + maxDataBytes + kibibyte;
  for (const { session, pool, budget, guard, link } of sessions.ends) {
    const grantedBytes = budget.grantedBytes + session.budget.grantedBytes;
    check(pool.peakBytes <= slabBytes, `slabs of ${pool.peakBytes} bytes were held`);
    check(link.peakQueuedBytes <= queuedBytes, `${link.peakQueuedBytes} bytes were in the link`);
    check(session.streamCount === 0, `${session.streamCount} streams are left`);
    check(pool.inUseBytes === 0, `slabs of ${pool.inUseBytes} bytes are left`);
    check(grantedBytes === 0, `windows of ${grantedBytes} bytes are left`);
    problems.push(...guard.breaches);
  }
  const { pendingTimers } = sessions.clock;
  check(pendingTimers === 0, `${pendingTimers} timers are left`);
  return problems;
}

/** Each end logs a line when the other overruns a window or breaks another rule. */
function breachesOf({ sessions }: Run): unknown[] {
  return sessions.ends.flatMap(({ log }) => log.lines);
}

/**
 * What each side of each stream wrote beside what the other received, and whether that one wanted
 * all of it.
 */
function transfersOf({ sessions, dialed }: Run) {
  return dialed.flatMap((stream) => {
    const accepted = sessions.accepted.get(stream.stream.number);
    if (accepted === undefined) return [];
    // One end may reset what the other has seen to its end; then everything was delivered all the
    // same.
    const complete = stream.ending === 'ok' || accepted.ending === 'ok';
    return [transferOf(stream, accepted, complete), transferOf(accepted, stream, complete)];
  });
}

function transferOf(from: RecordingStream, to: RecordingStream, complete: boolean) {
  const { writtenBytes } = from;
  const { receivedBytes, wantsNoMore } = to;
  return { complete, writtenBytes, receivedBytes, wantsAll: !wantsNoMore };
}

/** The problems of any run: bytes of a direction that ended are missing, or bytes were invented. */
export function deliveryProblemsOf(result: Run): unknown[] {
  const wrong = transfersOf(result).filter(
    ({ complete, writtenBytes, receivedBytes, wantsAll }) =>
      receivedBytes > writtenBytes || (complete && wantsAll && receivedBytes !== writtenBytes),
  );
  return [...problemsOf(result), ...breachesOf(result), ...wrong];
}

/** The problems of a run without resets: every stream must end in order with all planned bytes. */
export function orderlyProblemsOf(result: Run): unknown[] {
  const transfers = transfersOf(result);
  const planned = plannedBytes(result.what);
  const wrong = transfers.filter(
    ({ complete, receivedBytes, wantsAll }, at) =>
      !complete || (wantsAll ? receivedBytes !== planned[at] : receivedBytes > planned[at]!),
  );
  const missing = planned.slice(transfers.length);
  return [...problemsOf(result), ...breachesOf(result), ...wrong, ...missing];
}

/** The same scenario without resets. */
export function orderly(what: Scenario): Scenario {
  const streams = what.streams.map((stream) => ({
    ...stream,
    dialer: calm(stream.dialer),
    agent: calm(stream.agent),
  }));
  return { ...what, streams };
}

/** Each transfer of `orderly` streams as it was planned, in the order of `transfersOf`. */
function plannedBytes({ streams }: Scenario): number[] {
  return streams
    .toSorted((a, b) => a.openAtMs - b.openAtMs)
    .flatMap(({ dialer, agent }) => [dialer.plan.bytes, agent.plan.bytes]);
}

/** Sends all and half-closes. */
function calm(how: Behaviour): Behaviour {
  return { ...how, plan: { ...how.plan, end: 'fin' }, resetAtMs: undefined };
}
