import { describe, expect, it } from 'vitest';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';
import { maxDataBytes } from '../../src/tunnel/slab.ts';
import {
  type AcceptedStream,
  type LinkedSessions,
  type LinkedSessionsOptions,
  linkedSessions,
  slabBoundBytes,
  unsentHighBytes,
} from '../../testkit/link/linked-sessions.ts';
import type { RecordingStream } from '../../testkit/stream/recording-stream.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const windowBytes = defaultLimits.initialWindowBytes;
async function open(
  sessions: LinkedSessions,
  count: number,
): Promise<[RecordingStream, AcceptedStream][]> {
  const dialed = Array.from({ length: count }, () => sessions.open());
  await sessions.clock.runUntilIdle();
  return dialed.map((stream) => [stream, sessions.accepted.get(stream.stream.number)!]);
}

async function openOne(
  options?: LinkedSessionsOptions,
): Promise<[LinkedSessions, RecordingStream, AcceptedStream]> {
  const sessions = linkedSessions(options);
  const [[dialed, accepted]] = (await open(sessions, 1)) as [[RecordingStream, AcceptedStream]];
  return [sessions, dialed, accepted];
}

describe('Credit', () => {
  it('Credit holds the sender at an unread window and lets it continue when a quarter is read', async () => {
    const [{ clock }, dialed, accepted] = await openOne({ latencyMs: () => 50 });
    accepted.stopReading();
    dialed.send({ bytes: mebibyte });
    await clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(windowBytes);
    accepted.take(windowBytes / 4 - 1);
    await clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(windowBytes);
    accepted.take(1);
    await clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(windowBytes + windowBytes / 4);
    accepted.readOn();
    await clock.runUntilIdle();
    expect(accepted).toMatchObject({ receivedBytes: mebibyte, firstWrongByte: undefined });
  });

  it('Credit works the same from the agent to the dialer', async () => {
    const [{ clock }, dialed, accepted] = await openOne();
    dialed.stopReading();
    accepted.send({ bytes: mebibyte });
    await clock.runUntilIdle();
    expect(dialed.receivedBytes).toBe(windowBytes);
    dialed.readOn();
    await clock.runUntilIdle();
    expect(dialed).toMatchObject({ receivedBytes: mebibyte, firstWrongByte: undefined });
  });

  it('slow reader: flow control stalls only the stream of the reader that does not read', async () => {
    const sessions = linkedSessions({ latencyMs: () => 5, bytesPerMs: 100_000 });
    const streams = await open(sessions, 8);
    streams[0]![1].stopReading();
    for (const [dialed] of streams) dialed.send({ bytes: 4 * mebibyte });
    await sessions.clock.runUntilIdle();
    const received = streams.map(([, accepted]) => accepted.receivedBytes);
    expect(received).toEqual([windowBytes, ...Array<number>(7).fill(4 * mebibyte)]);
    expect(streams.filter(([, accepted]) => accepted.events.includes('fin'))).toHaveLength(7);
  });

  it('A session stops a writer when enough bytes wait, and wakes it when half of them are sent', async () => {
    const [sessions, dialed] = await openOne({ limits: { initialWindowBytes: 4 * mebibyte } });
    const { link } = sessions.dialer;
    link.stall();
    dialed.send({ bytes: 3 * mebibyte, pieceBytes: 10_000 });
    await sessions.clock.runUntilIdle();
    const inLink = link.sent.reduce((sum, { payloadBytes }) => sum + payloadBytes, 0);
    const waiting = dialed.writtenBytes - inLink;
    expect(waiting).toBeGreaterThan(unsentHighBytes - 10_000);
    expect(waiting).toBeLessThan(unsentHighBytes + 10_000);
    expect(dialed.events).toEqual(['opened']);
    link.unstall();
    await sessions.clock.runUntilIdle();
    expect(dialed.writtenBytes).toBe(3 * mebibyte);
  });

  it('A session wakes a writer that stopped at the end of the window when new credit arrives', async () => {
    const [{ clock }, dialed, accepted] = await openOne();
    accepted.stopReading();
    expect(dialed.write(windowBytes - 1)).toBe(true);
    expect(dialed.write(1)).toBe(false);
    await clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened']);
    accepted.readOn();
    await clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened', 'writable']);
  });
});

describe('The window of a stream', () => {
  it('The window of a stream grows to 16 MiB over a long, fast path', async () => {
    const [sessions, dialed] = await openOne({ latencyMs: () => 20, roomBytes: 16 * mebibyte });
    dialed.send({ bytes: 64 * mebibyte });
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.session.budget.grantedBytes).toBe(16 * mebibyte);
    expect(sessions.agent.session.roundTrip.ms).toBe(40);
  });

  it('The window of a stream stays small for a reader that is slower than the path', async () => {
    const [sessions, dialed, accepted] = await openOne({ latencyMs: () => 5 });
    accepted.stopReading();
    dialed.send({ bytes: 2 * mebibyte });
    for (let turn = 0; turn < 2 * 64; turn++) {
      await sessions.clock.advance(20);
      accepted.take(16 * kibibyte);
    }
    expect(sessions.agent.session.budget.grantedBytes).toBe(windowBytes);
  });

  it.each([
    ['session', { limits: { sessionBudgetBytes: 4 * mebibyte } }],
    ['process', { processBudgetBytes: 4 * mebibyte }],
  ])('The window of a stream never grows past the budget of the %s', async (_, options) => {
    const sessions = linkedSessions({ ...options, latencyMs: () => 20, roomBytes: 4 * mebibyte });
    const streams = await open(sessions, 8);
    for (const [dialed] of streams) dialed.send({ bytes: 8 * mebibyte, end: 'nothing' });
    let peakBytes = 0;
    for (let ms = 0; ms < 2_000; ms++) {
      await sessions.clock.advance(1);
      peakBytes = Math.max(peakBytes, sessions.agent.budget.grantedBytes);
    }
    expect(peakBytes).toBeGreaterThan(3 * mebibyte);
    expect(peakBytes).toBeLessThanOrEqual(4 * mebibyte);
    for (const [, accepted] of streams) expect(accepted.receivedBytes).toBe(8 * mebibyte);
  });

  it('The window of a stream is never less than the minimum, so that a stream moves when the budget is used up', async () => {
    const limits = { sessionBudgetBytes: windowBytes };
    const sessions = linkedSessions({ limits });
    const streams = await open(sessions, 3);
    expect(sessions.agent.session.budget.grantedBytes).toBe(
      windowBytes + 2 * defaultLimits.minWindowBytes,
    );
    for (const [dialed] of streams) dialed.send({ bytes: mebibyte });
    await sessions.clock.runUntilIdle();
    for (const [, accepted] of streams) {
      expect(accepted).toMatchObject({ receivedBytes: mebibyte, firstWrongByte: undefined });
    }
  });

  it('The window of a stream returns to the budgets when the stream ends', async () => {
    const [sessions, dialed, accepted] = await openOne();
    for (const { budget } of sessions.ends) expect(budget.grantedBytes).toBe(windowBytes);
    dialed.fin();
    accepted.fin();
    await sessions.clock.runUntilIdle();
    for (const { budget } of sessions.ends) expect(budget.grantedBytes).toBe(0);
  });
});

describe('The memory of a session', () => {
  it('The memory of a receiver is at most its windows, even with the fastest senders', async () => {
    const sessions = linkedSessions({ limits: { sessionBudgetBytes: mebibyte } });
    const streams = await open(sessions, 16);
    for (const [dialed, accepted] of streams) {
      accepted.stopReading();
      dialed.send({ bytes: 4 * mebibyte });
    }
    await sessions.clock.runUntilIdle();
    const unread = streams.reduce((sum, [, accepted]) => sum + accepted.unreadBytes, 0);
    expect(unread).toBe(sessions.agent.session.budget.grantedBytes);
    // The first stream has 256 KiB, twelve streams have 64 KiB, and then the budget is used up.
    expect(unread).toBe(mebibyte + 3 * defaultLimits.minWindowBytes);
  });

  it.each([
    ['readers that take nothing', { stalled: true, pieceBytes: 16 * kibibyte }],
    ['readers that take everything', { stalled: false, pieceBytes: 16 * kibibyte }],
    ['writes just over a small slab', { stalled: false, pieceBytes: 3_050 }],
    ['writes larger than a frame', { stalled: true, pieceBytes: 150_000 }],
  ])(
    'The memory of a sender is its window, its waiting bytes and a bounded rest: %s',
    async (_, how) => {
      const count = 8;
      const maxWindowBytes = 512 * kibibyte;
      const sessions = linkedSessions({
        latencyMs: () => 20,
        bytesPerMs: 50_000,
        limits: { maxWindowBytes },
      });
      const streams = await open(sessions, count);
      for (const [dialed, accepted] of streams) {
        if (how.stalled) accepted.stopReading();
        dialed.send({ bytes: 4 * mebibyte, pieceBytes: how.pieceBytes });
      }
      const keptBytes = maxWindowBytes + unsentHighBytes + how.pieceBytes;
      const bound =
        count * slabBoundBytes(keptBytes, keptBytes / Math.min(how.pieceBytes, maxDataBytes));
      await sessions.clock.runUntilIdle();
      expect(sessions.dialer.pool.peakBytes).toBeGreaterThan(count * windowBytes);
      expect(sessions.dialer.pool.peakBytes).toBeLessThanOrEqual(bound);
    },
  );

  it('The memory of a sender that fills each frame with one byte is bounded by window, waiting bytes and frame overhead', async () => {
    const [sessions, dialed] = await openOne({ latencyMs: () => 20 });
    for (let bytes = 1; bytes <= 2_000; bytes++) {
      dialed.write(1);
      await sessions.clock.advance(0.01);
      expect(sessions.dialer.pool.inUseBytes).toBeLessThanOrEqual(
        1.35 * (bytes + frameHeaderBytes * bytes) + 4 * kibibyte,
      );
    }
  });

  it('The memory of a sender does not multiply with a trickle of credit', async () => {
    const [sessions, dialed, accepted] = await openOne({
      limits: { initialWindowBytes: 16 * kibibyte, maxWindowBytes: 16 * kibibyte },
    });
    accepted.stopReading();
    dialed.send({ bytes: mebibyte, pieceBytes: 64 * kibibyte });
    const keptBytes = 16 * kibibyte + unsentHighBytes + 64 * kibibyte;
    for (let turn = 0; turn < 256; turn++) {
      await sessions.clock.advance(1);
      accepted.take(4 * kibibyte);
    }
    expect(sessions.dialer.pool.peakBytes).toBeLessThanOrEqual(slabBoundBytes(keptBytes, 16));
    expect(accepted).toMatchObject({ receivedBytes: mebibyte, firstWrongByte: undefined });
  });

  it('Idle streams hold no memory, because sent bytes are acknowledged even if the reader stops', async () => {
    const sessions = linkedSessions({ latencyMs: () => 20 });
    const streams = await open(sessions, 100);
    for (const [dialed, accepted] of streams) {
      accepted.stopReading();
      dialed.write(1);
      accepted.write(1);
    }
    expect(sessions.dialer.pool.inUseBytes).toBe(100 * 4 * kibibyte);
    await sessions.clock.advance(20 + defaultLimits.ackDelayMs + 20);
    for (const { pool, session } of sessions.ends) {
      expect(session.streamCount).toBe(100);
      expect(pool.inUseBytes).toBe(0);
    }
  });

  it('The memory of a sender is free at once after a large transfer, without a wait for the delayed acknowledgement', async () => {
    const [sessions, dialed] = await openOne({ latencyMs: () => 1 });
    dialed.write(windowBytes / 2);
    await sessions.clock.advance(3);
    expect(sessions.dialer.pool.inUseBytes).toBe(0);
  });
});

describe('An idle session', () => {
  it('An idle session sends nothing and sets no timer', async () => {
    const [sessions, dialed] = await openOne({ latencyMs: () => 20 });
    dialed.send({ bytes: mebibyte, end: 'nothing' });
    await sessions.clock.runUntilIdle();
    const frames = sessions.ends.map(({ link }) => link.sent.length);
    await sessions.clock.advance(3_600_000);
    expect(sessions.ends.map(({ link }) => link.sent.length)).toEqual(frames);
    expect(sessions.clock.pendingTimers).toBe(0);
  });

  it('A session measures the round trip while bytes move, at most five times a second', async () => {
    const [sessions, dialed] = await openOne({ latencyMs: () => 20, bytesPerMs: 10_000 });
    dialed.send({ bytes: 20 * mebibyte, end: 'nothing' });
    await sessions.clock.advance(1_000);
    const pings = sessions.agent.link.sent.filter(({ name }) => name === 'PING');
    expect(pings.length).toBeGreaterThanOrEqual(4);
    expect(pings.length).toBeLessThanOrEqual(5);
  });
});
