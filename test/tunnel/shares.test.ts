import { describe, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import type { StreamShare } from '../../src/tunnel/stream-request.ts';
import {
  linkedSessions,
  sampleTarget,
  type AcceptedStream,
  type LinkedSessions,
} from '../../testkit/link/linked-sessions.ts';
import type { RecordingStream } from '../../testkit/stream/recording-stream.ts';
import { ScriptedSession } from '../../testkit/stream/scripted-session.ts';

const mebibyte = 1024 * 1024;

/** A link of 10 MB/s between a dialer and an agent. */
const slowLink = {
  bytesPerMs: 10_000,
  latencyMs: () => 5,
  roomBytes: 64 * 1024,
  limits: { initialWindowBytes: mebibyte, sessionBudgetBytes: 512 * mebibyte },
};

async function openedWith(
  sessions: LinkedSessions,
  shares: readonly (StreamShare | undefined)[],
): Promise<{ dialed: RecordingStream; accepted: AcceptedStream }[]> {
  const dialed = shares.map((share) => sessions.open(sampleTarget, 0, { share }));
  await sessions.clock.runUntilIdle();
  return dialed.map((stream) => ({
    dialed: stream,
    accepted: sessions.accepted.get(stream.stream.number)!,
  }));
}

describe('Bulk streams of several groups', () => {
  const shares = [
    ...Array.from({ length: 9 }, () => ({ group: 1, weight: 1 })),
    { group: 2, weight: 1 },
    { group: 3, weight: 3 },
    undefined,
  ];

  /** The bytes of the three groups and of the streams without one, in a second of a busy link. */
  function inGroups(bytes: readonly number[]): number[] {
    const [nine, one, heavy, none] = [bytes.slice(0, 9), bytes[9]!, bytes[10]!, bytes[11]!];
    return [nine.reduce((sum, each) => sum + each), one, heavy, none];
  }

  it('Bulk streams of a group share its part, which follows its weight, towards the agent', async () => {
    const sessions = linkedSessions(slowLink);
    const streams = await openedWith(sessions, shares);
    for (const { dialed } of streams) dialed.send({ bytes: 64 * mebibyte });
    await sessions.clock.advance(500);
    const before = streams.map(({ accepted }) => accepted.receivedBytes);
    await sessions.clock.advance(3_000);
    const moved = streams.map(({ accepted }, at) => accepted.receivedBytes - before[at]!);
    const [nine, one, heavy, none] = inGroups(moved);
    expect(nine! / one!).toBeCloseTo(1, 1);
    expect(heavy! / one!).toBeCloseTo(3, 1);
    expect(none! / one!).toBeCloseTo(1, 1);
  });

  it('Bulk streams of a group share its part, which follows its weight, towards the dialer', async () => {
    const sessions = linkedSessions(slowLink);
    const streams = await openedWith(sessions, shares);
    for (const { accepted } of streams) accepted.send({ bytes: 64 * mebibyte });
    await sessions.clock.advance(500);
    const before = streams.map(({ dialed }) => dialed.receivedBytes);
    await sessions.clock.advance(3_000);
    const moved = streams.map(({ dialed }, at) => dialed.receivedBytes - before[at]!);
    const [nine, one, heavy, none] = inGroups(moved);
    expect(nine! / one!).toBeCloseTo(1, 1);
    expect(heavy! / one!).toBeCloseTo(3, 1);
    expect(none! / one!).toBeCloseTo(1, 1);
  });

  it('Bulk streams of a group use the whole link while no other group has bytes', async () => {
    const sessions = linkedSessions(slowLink);
    const [light] = await openedWith(sessions, [
      { group: 1, weight: 1 },
      { group: 2, weight: 100 },
    ]);
    light!.dialed.send({ bytes: 64 * mebibyte });
    await sessions.clock.advance(1_000);
    expect(light!.accepted.receivedBytes).toBeGreaterThan(9_000_000);
  });
});

describe('Interactive streams beside bulk streams', () => {
  /** Round trips of 20 interactive streams, in milliseconds: the 99th percentile. */
  async function p99(bulkStreams: number, group: number): Promise<number> {
    // A link of 100 MB/s, with the room of a WebSocket.
    const sessions = linkedSessions({ ...slowLink, bytesPerMs: 100_000, roomBytes: 256 * 1024 });
    const { clock } = sessions;
    const interactive = await openedWith(
      sessions,
      Array.from({ length: 20 }, () => ({ group: 1, weight: 1 })),
    );
    const bulk = await openedWith(
      sessions,
      Array.from({ length: bulkStreams }, () => ({ group, weight: 1 })),
    );
    for (const { dialed } of bulk) dialed.send({ bytes: 2_048 * mebibyte });
    await clock.advance(200);
    const tookMs: number[] = [];
    for (let round = 0; round < 20; round++) {
      for (const { dialed, accepted } of interactive) {
        const askedAtMs = clock.now();
        const [asked, answered] = [accepted.receivedBytes, dialed.receivedBytes];
        dialed.write(100);
        while (accepted.receivedBytes === asked) await clock.advance(0.5);
        accepted.write(100);
        while (dialed.receivedBytes === answered) await clock.advance(0.5);
        tookMs.push(clock.now() - askedAtMs);
      }
    }
    return tookMs.toSorted((a, b) => a - b)[Math.floor(tookMs.length * 0.99)]!;
  }

  it.each([
    ['of another client', 2],
    ['of the same client', 1],
  ])(
    'Interactive streams beside 40 bulk streams %s keep their p99 within twice of that alone',
    async (_, group) => {
      const alone = await p99(0, group);
      const besideBulk = await p99(40, group);
      expect(alone).toBeGreaterThanOrEqual(10);
      expect(besideBulk).toBeLessThanOrEqual(2 * alone);
    },
  );

  it('Interactive streams that use up the link leave half of it to a bulk stream', async () => {
    const sessions = linkedSessions(slowLink);
    const { clock } = sessions;
    const [bulk, ...many] = await openedWith(
      sessions,
      Array.from<undefined>({ length: 200 }).fill(undefined),
    );
    bulk!.dialed.send({ bytes: 64 * mebibyte });
    await clock.advance(100);
    const before = bulk!.accepted.receivedBytes;
    for (let round = 0; round < 1_000; round++) {
      for (const { dialed } of many) {
        if (
          dialed.writtenBytes - sessions.accepted.get(dialed.stream.number)!.receivedBytes <
          4096
        ) {
          dialed.write(4096);
        }
      }
      await clock.advance(1);
    }
    const share = (bulk!.accepted.receivedBytes - before) / 10_000_000;
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
  });
});

describe('The share of a stream', () => {
  it('The share of a stream reaches the acceptor in OPEN', async () => {
    const sessions = linkedSessions();
    const share = { group: 7, weight: 3 };
    const [stream] = await openedWith(sessions, [share]);
    expect(stream!.accepted.request.share).toEqual(share);
  });

  it.each([
    ['a group of 0', { group: 0, weight: 1 }],
    ['a weight of 0', { group: 1, weight: 0 }],
    ['a weight over 100', { group: 1, weight: 101 }],
    ['no weight', { group: 1 }],
    ['a group that is no number', { group: 'a', weight: 1 }],
  ])('The share of a stream with %s makes its OPEN malformed', (_, fields) => {
    const session = new ScriptedSession('agent');
    const open = { kind: 'tcp', host: 'kube', port: 6443, window: 1000, timeoutMs: 0, ...fields };
    session.receive(FrameType.open, 1, encodeMessage(open));
    const [answer] = session.sent();
    expect(answer!.type).toBe(FrameType.reset);
    expect(decodeFailure(FrameType.reset, answer!.payload).code).toBe('protocol_error');
  });
});
