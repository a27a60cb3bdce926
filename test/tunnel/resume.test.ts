import { describe, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { decodeSync, encodeSync, type Sync } from '../../src/tunnel/sync-message.ts';
import {
  type LinkedSessions,
  type LinkedSessionsOptions,
  linkedSessions,
  sampleTarget,
} from '../../testkit/link/linked-sessions.ts';
import type { RecordingStream } from '../../testkit/stream/recording-stream.ts';
import { ScriptedSession, offsets } from '../../testkit/stream/scripted-session.ts';
import type { SimulatedLink } from '../../testkit/link/simulated-link.ts';

const kibibyte = 1024;

/** Sessions that outlive their links, 10 ms apart. */
function resuming(options: LinkedSessionsOptions = {}): LinkedSessions {
  return linkedSessions({ latencyMs: () => 10, resumes: true, ...options });
}

/** Cuts the link, with loss of all frames on it, and connects another link a second later. */
async function loseLink(sessions: LinkedSessions): Promise<void> {
  sessions.dialer.link.cut();
  await sessions.clock.advance(1_000);
  sessions.relink();
}

async function loseLinkAndRest(sessions: LinkedSessions): Promise<void> {
  await loseLink(sessions);
  await sessions.clock.runUntilIdle();
}

function names(link: SimulatedLink): string[] {
  return link.sent.map(({ name }) => name);
}

function expectNothingLeft({ ends, clock }: LinkedSessions): void {
  for (const { session, pool, budget, guard, log, broken } of ends) {
    expect({
      streams: session.streamCount,
      slabBytes: pool.inUseBytes,
      windowBytes: session.budget.grantedBytes + budget.grantedBytes,
      callbacksInsideVerbs: guard.breaches,
      logLines: log.lines,
      broken,
    }).toEqual({
      streams: 0,
      slabBytes: 0,
      windowBytes: 0,
      callbacksInsideVerbs: [],
      logLines: [],
      broken: [],
    });
  }
  expect(clock.pendingTimers).toBe(0);
}

/** Expects that both directions received all bytes in order, and that the streams have ended. */
function expectComplete(dialed: RecordingStream, accepted: RecordingStream): void {
  expect([dialed.firstWrongByte, accepted.firstWrongByte]).toEqual([undefined, undefined]);
  expect([dialed.receivedBytes, accepted.receivedBytes]).toEqual([
    accepted.writtenBytes,
    dialed.writtenBytes,
  ]);
  expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
}

describe('A session whose link is lost', () => {
  it('A session whose link is lost continues all transfers over another link, in both directions', async () => {
    const sessions = resuming({ bytesPerMs: 10_000, pieceBytes: () => 777 });
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 3_000 * kibibyte });
    accepted.send({ bytes: 2_000 * kibibyte });
    await sessions.clock.advance(50);
    const [before, beforeBack] = [accepted.receivedBytes, dialed.receivedBytes];
    expect(before).toBeGreaterThan(0);
    expect(beforeBack).toBeGreaterThan(0);
    await loseLink(sessions);
    expect([accepted.receivedBytes, dialed.receivedBytes]).toEqual([before, beforeBack]);
    await sessions.clock.runUntilIdle();
    expectComplete(dialed, accepted);
    expect(sessions.dialer.session.resentBytes).toBeGreaterThan(0);
    expect(sessions.agent.session.resentBytes).toBeGreaterThan(0);
    expectNothingLeft(sessions);
  });

  it('A session on a new link sends only the bytes again that the other end does not have', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    dialed.write(1_000);
    await sessions.clock.runUntilIdle();
    sessions.dialer.link.stall();
    dialed.write(500);
    await sessions.clock.advance(10);
    await loseLinkAndRest(sessions);
    expect(accepted.receivedBytes).toBe(1_500);
    expect(sessions.dialer.session.resentBytes).toBe(500);
    expect(sessions.dialer.link.sent).toMatchObject([
      { name: 'SYNC' },
      { name: 'CREDIT' },
      { name: 'DATA', payloadBytes: 500 },
    ]);
  });

  it("A session on a new link sends nothing but SYNC before the other end's SYNC arrives", async () => {
    const sessions = resuming();
    const [dialed] = await sessions.opened();
    sessions.dialer.link.stall();
    dialed.write(100);
    sessions.dialer.link.cut();
    sessions.relink();
    sessions.agent.link.stall();
    dialed.write(100);
    dialed.fin();
    sessions.open();
    await sessions.clock.advance(5_000);
    expect(names(sessions.dialer.link)).toEqual(['SYNC']);
    sessions.agent.link.unstall();
    await sessions.clock.advance(100);
    expect(names(sessions.dialer.link)).toEqual(['SYNC', 'CREDIT', 'OPEN', 'DATA', 'FIN']);
  });

  it('A session without a link keeps a writer within its window', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    sessions.dialer.link.cut();
    dialed.send({ bytes: 5_000 * kibibyte });
    await sessions.clock.runUntilIdle();
    expect(dialed.writtenBytes).toBeLessThanOrEqual(512 * kibibyte);
    sessions.relink();
    accepted.fin();
    await sessions.clock.runUntilIdle();
    expectComplete(dialed, accepted);
    expectNothingLeft(sessions);
  });

  it('A session on a new link reports what a reader took while there was no link', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    accepted.stopReading();
    dialed.send({ bytes: 400 * kibibyte });
    await sessions.clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(256 * kibibyte);
    sessions.dialer.link.cut();
    accepted.readOn();
    accepted.fin();
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expectComplete(dialed, accepted);
    expectNothingLeft(sessions);
  });

  it('A session survives several link losses in a row, with little time between them', async () => {
    const sessions = resuming({ bytesPerMs: 20_000 });
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 2_000 * kibibyte });
    accepted.send({ bytes: 2_000 * kibibyte });
    for (let lost = 0; lost < 40; lost++) {
      await sessions.clock.advance(lost * 1.3);
      sessions.dialer.link.cut();
      sessions.relink();
    }
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.session.resentBytes).toBeGreaterThan(0);
    expectComplete(dialed, accepted);
    expectNothingLeft(sessions);
  });

  it('A session on a new link measures the round trip again, although a PING was lost', async () => {
    const sessions = resuming();
    const [dialed] = await sessions.opened();
    dialed.write(200 * kibibyte);
    await sessions.clock.advance(15);
    expect(names(sessions.agent.link)).toContain('PING');
    await loseLinkAndRest(sessions);
    expect(sessions.agent.session.roundTrip.ms).toBeUndefined();
    dialed.write(200 * kibibyte);
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.session.roundTrip.ms).toBe(20);
  });

  it('A session without a link keeps waiting for its last stream to end', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    const done: string[] = [];
    const never = new AbortController().signal;
    void sessions.dialer.session.idle(never).then(() => done.push('idle'));
    await loseLinkAndRest(sessions);
    expect(done).toEqual([]);
    dialed.fin();
    accepted.fin();
    await sessions.clock.runUntilIdle();
    expect(done).toEqual(['idle']);
  });

  it('A session without a link closes like any other session', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    dialed.write(1_000);
    sessions.dialer.link.cut();
    for (const { session } of sessions.ends) session.close({ code: 'link_lost' } as never);
    await sessions.clock.runUntilIdle();
    expect([dialed.ending, accepted.ending]).toEqual(['link_lost', 'link_lost']);
    expectNothingLeft(sessions);
  });
});

describe('A half-closed stream on a new link', () => {
  it.each(['dialer', 'agent'] as const)(
    'A half-closed stream on a new link continues in the open direction after the %s is done',
    async (done) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [early, late] = done === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      early.send({ bytes: 1_000 });
      await sessions.clock.runUntilIdle();
      late.write(100 * kibibyte);
      await loseLinkAndRest(sessions);
      expect(late.events.filter((event) => event === 'fin')).toEqual(['fin']);
      expect(early.receivedBytes).toBe(100 * kibibyte);
      late.send({ bytes: 300 * kibibyte });
      await sessions.clock.runUntilIdle();
      expectComplete(dialed, accepted);
      expectNothingLeft(sessions);
    },
  );

  it.each(['dialer', 'agent'] as const)(
    'A half-closed stream on a new link receives the lost FIN of the %s',
    async (side) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [by, to] = side === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      sessions[side].link.stall();
      by.fin();
      await sessions.clock.advance(5);
      expect(names(sessions[side].link).at(-1)).toBe('FIN');
      await loseLinkAndRest(sessions);
      expect(to.events.at(-1)).toBe('fin');
      to.fin();
      await sessions.clock.runUntilIdle();
      expectComplete(dialed, accepted);
      expectNothingLeft(sessions);
    },
  );

  it('A half-closed stream on a new link receives no FIN twice when only the acknowledgement was lost', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    sessions.agent.link.stall();
    dialed.send({ bytes: 10 });
    await sessions.clock.advance(100);
    expect(accepted.events).toEqual(['fin']);
    await loseLinkAndRest(sessions);
    expect(accepted.events).toEqual(['fin']);
    expect(names(sessions.dialer.link)).toEqual(['SYNC', 'CREDIT']);
    accepted.fin();
    await sessions.clock.runUntilIdle();
    expectComplete(dialed, accepted);
    expectNothingLeft(sessions);
  });

  it.each(['dialer', 'agent'] as const)(
    'A stream ends in order at the %s when the other end ended it and its last frame was lost',
    async (left) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [first, last] = left === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      const other = left === 'dialer' ? sessions.agent : sessions.dialer;
      last.fin();
      await sessions.clock.runUntilIdle();
      // The last FIN arrives, but the answer of the other end is lost.
      first.send({ bytes: 1_000 });
      await sessions.clock.advance(9);
      other.link.stall();
      await sessions.clock.advance(100);
      expect(last.receivedBytes).toBe(1_000);
      expect(first.closes).toEqual([]);
      await loseLinkAndRest(sessions);
      expectComplete(dialed, accepted);
      expectNothingLeft(sessions);
    },
  );
});

describe('A dial on a new link', () => {
  it('A dial whose OPEN was lost is repeated on the new link, and accepted once', async () => {
    const sessions = resuming();
    sessions.dialer.link.stall();
    const dialed = sessions.open();
    await sessions.clock.advance(10);
    expect(names(sessions.dialer.link)).toEqual(['OPEN']);
    await loseLinkAndRest(sessions);
    expect(dialed.events).toEqual(['opened']);
    expect([...sessions.accepted.keys()]).toEqual([1]);
    // The link is lost again after the OPEN, so the agent has the OPEN now.
    await loseLinkAndRest(sessions);
    expect(names(sessions.dialer.link)).toEqual(['SYNC', 'CREDIT']);
    expect(dialed.events).toEqual(['opened']);
  });

  it('A dial that is repeated keeps the order of its number, before dials that began without a link', async () => {
    const sessions = resuming();
    sessions.dialer.link.stall();
    const lost = [sessions.open(), sessions.open()];
    await sessions.clock.advance(10);
    sessions.dialer.link.cut();
    const fresh = [sessions.open(), sessions.open()];
    sessions.relink();
    await sessions.clock.runUntilIdle();
    for (const dialed of [...lost, ...fresh]) expect(dialed.events).toEqual(['opened']);
    expect([...sessions.accepted.keys()]).toEqual([1, 2, 3, 4]);
  });

  it('A dial that the agent is still making is not repeated, and is answered on the new link', async () => {
    const sessions = resuming({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    await loseLinkAndRest(sessions);
    expect(names(sessions.dialer.link)).toEqual(['SYNC', 'CREDIT']);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened']);
  });

  it("A dial receives a lost OPENED on the new link, and then the target's first bytes", async () => {
    const sessions = resuming({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    sessions.agent.link.stall();
    accepted.accept();
    accepted.send({ bytes: 100 * kibibyte });
    await sessions.clock.advance(10);
    expect(dialed.events).toEqual([]);
    await loseLinkAndRest(sessions);
    expect(dialed.events).toEqual(['opened', 'fin']);
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expectComplete(dialed, accepted);
    expectNothingLeft(sessions);
  });

  it.each(['dialer', 'agent'] as const)(
    'A dial on a new link keeps the half-close of the %s behind OPENED',
    async (by) => {
      const sessions = resuming({ onAccept: () => {} });
      const [dialed, accepted] = await sessions.opened();
      const [done, other] = by === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      done.fin();
      await loseLinkAndRest(sessions);
      expect(other.events).toEqual([]);
      accepted.accept();
      await sessions.clock.runUntilIdle();
      expect(other.events.at(-1)).toBe('fin');
      other.fin();
      await sessions.clock.runUntilIdle();
      expectComplete(dialed, accepted);
      expectNothingLeft(sessions);
    },
  );

  it('A dial receives a lost REFUSED on the new link, with code and sentence', async () => {
    const sessions = resuming({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    sessions.agent.link.stall();
    accepted.reset('dns', 'no such host');
    await sessions.clock.advance(10);
    expect(names(sessions.agent.link)).toEqual(['REFUSED']);
    await loseLinkAndRest(sessions);
    expect(dialed.closes).toMatchObject([{ code: 'dns', message: 'no such host' }]);
    expect(sessions.accepted.size).toBe(1);
    expectNothingLeft(sessions);
  });

  it('A dial on a new link learns that the agent had no room for it, although REFUSED was lost', async () => {
    const sessions = resuming({ limits: { maxStreams: 1 } });
    const [first] = await sessions.opened();
    const second = sessions.open();
    await sessions.clock.advance(9);
    sessions.agent.link.stall();
    await sessions.clock.advance(10);
    expect(names(sessions.agent.link).at(-1)).toBe('REFUSED');
    await loseLinkAndRest(sessions);
    expect(second.ending).toBe('stream_limit');
    expect(first.closes).toEqual([]);
  });

  it('A dial ends with timeout at its time, with or without a link, and the agent is told', async () => {
    const sessions = resuming({ onAccept: () => {} });
    const known = sessions.open(undefined, 3_000);
    await sessions.clock.advance(100);
    sessions.dialer.link.cut();
    const unknown = sessions.open(undefined, 3_000);
    await sessions.clock.advance(4_900);
    expect(known.ending).toBe('timeout');
    expect(unknown.ending).toBeUndefined();
    await sessions.clock.advance(100);
    expect(unknown.ending).toBe('timeout');
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(sessions.accepted.get(1)!.ending).toBe('timeout');
    expect(sessions.accepted.size).toBe(1);
    expectNothingLeft(sessions);
  });

  it('A dial that began without a link is made on the next link, but not if it was cancelled before', async () => {
    const sessions = resuming();
    sessions.dialer.link.cut();
    const [kept, dropped] = [sessions.open(), sessions.open()];
    dropped.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(kept.events).toEqual([]);
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(kept.events).toEqual(['opened']);
    expect([...sessions.accepted.keys()]).toEqual([kept.stream.number]);
  });
});

describe('A reset on a new link', () => {
  it.each(['dialer', 'agent'] as const)(
    'A reset by the %s that was lost is repeated in SYNC',
    async (side) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [by, to] = side === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      sessions[side].link.stall();
      by.reset('target_reset', 'connection reset by peer');
      await sessions.clock.advance(10);
      expect(to.closes).toEqual([]);
      await loseLinkAndRest(sessions);
      expect(to.closes).toMatchObject([
        { code: 'target_reset', message: 'connection reset by peer' },
      ]);
      expectNothingLeft(sessions);
    },
  );

  it.each(['dialer', 'agent'] as const)(
    'A reset by the %s without a link is reported on the new link',
    async (side) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [by, to] = side === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      sessions.dialer.link.cut();
      by.reset('cancelled', 'the user left');
      await sessions.clock.advance(1_000);
      sessions.relink();
      await sessions.clock.runUntilIdle();
      expect(to.closes).toMatchObject([{ code: 'cancelled', message: 'the user left' }]);
      expectNothingLeft(sessions);
    },
  );

  it('A reset on a new link is not mistaken for an orderly end after both FINs and the end of 1,000 other streams', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    const others = Array.from({ length: 1_000 }, () => sessions.open());
    accepted.fin();
    await sessions.clock.runUntilIdle();
    sessions.dialer.link.stall();
    dialed.send({ bytes: 1_000 });
    await sessions.clock.advance(10);
    sessions.dialer.link.cut();
    accepted.reset('target_reset', 'the target is gone');
    for (const other of sessions.accepted.values()) other.reset('target_reset', 'gone as well');
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(dialed.closes).toMatchObject([{ code: 'target_reset' }]);
    for (const other of others) expect(other.closes).toMatchObject([{ code: 'target_reset' }]);
    expectNothingLeft(sessions);
  });

  it('SYNC repeats the last 256 resets that were sent on the old link', async () => {
    const sessions = resuming({ roomBytes: 1024 * kibibyte });
    const dialed = Array.from({ length: 300 }, () => sessions.open());
    await sessions.clock.runUntilIdle();
    sessions.agent.link.stall();
    for (const accepted of sessions.accepted.values())
      accepted.reset('target_reset', 'x'.repeat(999));
    await sessions.clock.advance(10);
    await loseLinkAndRest(sessions);
    const codes = dialed.map(({ ending }) => ending);
    expect(codes.slice(44)).toEqual(Array(256).fill('target_reset'));
    expect(codes.slice(0, 44)).toEqual(Array(44).fill('link_lost'));
    expectNothingLeft(sessions);
  });
});

describe('A stream that only one end has', () => {
  it.each(['dialer', 'agent'] as const)(
    'A stream that only the %s has ends with link_lost',
    async (side) => {
      const sessions = resuming();
      const [dialed, accepted] = await sessions.opened();
      const [has, forgets] = side === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      sessions.dialer.link.cut();
      (forgets.stream as unknown as { fail(error: undefined): void }).fail(undefined);
      sessions.relink();
      await sessions.clock.runUntilIdle();
      expect(has.ending).toBe('link_lost');
    },
  );

  it('A stream is opened again when the other end is new', async () => {
    const first = resuming({ onAccept: () => {} });
    const dialed = first.open();
    await first.clock.advance(100);
    // The same dialer with the session of another agent, which knows none of its streams.
    const scripted = new ScriptedSession('agent');
    first.dialer.link.cut();
    const opens: number[] = [];
    const link = first.dialer.link;
    first.dialer.session.attach(
      {
        ...linkOf(link),
        sendCopy: (type, _, stream) => void (type === FrameType.open && opens.push(stream)),
      },
      7,
      () => {},
      false,
    );
    while (first.dialer.session.pullFrame());
    expect(opens).toEqual([dialed.stream.number]);
    expect(scripted.session.unanswered).toBe(true);
  });
});

function linkOf(link: SimulatedLink) {
  const nothing = (): void => {};
  return {
    peer: link.peer,
    room: 1,
    send: nothing,
    wake: nothing,
    pause: nothing,
    resume: nothing,
    close: nothing,
  };
}

describe('SYNC on a new link', () => {
  it('SYNC is sent again from the start when the link is lost in the middle of it', async () => {
    const sessions = resuming({ bytesPerMs: 100 });
    const dialed = Array.from({ length: 2_500 }, () => sessions.open());
    await sessions.clock.runUntilIdle();
    for (const stream of dialed) stream.write(10);
    await sessions.clock.advance(20);
    sessions.dialer.link.cut();
    sessions.relink();
    const syncs = sessions.agent.link.sent.filter(({ name }) => name === 'SYNC');
    await sessions.clock.advance(150);
    sessions.dialer.link.cut();
    expect(syncs.length).toBeLessThan(3);
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(names(sessions.agent.link).slice(0, 3)).toEqual(['SYNC', 'SYNC', 'SYNC']);
    for (const stream of sessions.accepted.values()) {
      expect(stream).toMatchObject({ receivedBytes: 10, firstWrongByte: undefined });
    }
    for (const stream of dialed) stream.fin();
    for (const stream of sessions.accepted.values()) stream.fin();
    await sessions.clock.runUntilIdle();
    for (const stream of dialed) expect(stream.ending).toBe('ok');
    expectNothingLeft(sessions);
  });

  it('SYNC fits into control frames with the maximum of streams and sentences', async () => {
    const sessions = resuming();
    const dialed = Array.from({ length: 4_000 }, () => sessions.open());
    await sessions.clock.runUntilIdle();
    for (const stream of dialed.slice(0, 300)) stream.reset('cancelled', '界'.repeat(2_000));
    await sessions.clock.runUntilIdle();
    await loseLinkAndRest(sessions);
    const sent = sessions.dialer.link.sent.filter(({ name }) => name === 'SYNC');
    const told = sent.map(({ control }) => decodeSync(control!));
    expect(told.flatMap(({ streams }) => streams)).toHaveLength(3_700);
    expect(told.flatMap(({ failures }) => failures)).toHaveLength(256);
    expect(told.map(({ last }) => last)).toEqual([...Array(sent.length - 1).fill(false), true]);
    for (const { payloadBytes } of sent) expect(payloadBytes).toBeLessThanOrEqual(56 * kibibyte);
    expect(sessions.dialer.session.streamCount).toBe(3_700);
  });

  it('SYNC names no stream that the other end cannot know', async () => {
    const sessions = resuming();
    await sessions.opened();
    sessions.dialer.link.cut();
    sessions.open();
    sessions.relink();
    const [sync] = sessions.dialer.link.sent;
    await sessions.clock.runUntilIdle();
    expect(sync).toBeUndefined();
    const told = decodeSync(sessions.dialer.link.sent[0]!.control!);
    expect(told.streams.map(({ stream }) => stream)).toEqual([1]);
  });

  it('SYNC names no dial that was given up before it was sent, so that any number of them harms no other stream', async () => {
    const sessions = resuming();
    const [dialed, accepted] = await sessions.opened();
    sessions.dialer.link.cut();
    for (let count = 0; count < 10_300; count++) sessions.open().reset('cancelled');
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.broken).toEqual([]);
    const sent = sessions.dialer.link.sent.filter(({ name }) => name === 'SYNC');
    expect(sent.map(({ control }) => decodeSync(control!).failures)).toEqual([[]]);
    dialed.write(5);
    await sessions.clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(5);
  });

  it('SYNC counts the bytes that arrived and the FIN, and reports the present limit', async () => {
    const sessions = resuming();
    const [dialed] = await sessions.opened();
    dialed.send({ bytes: 100 * kibibyte });
    await sessions.clock.runUntilIdle();
    await loseLinkAndRest(sessions);
    expect(decodeSync(sessions.agent.link.sent[0]!.control!)).toEqual({
      streams: [{ stream: 1, received: 102_401, limit: 356 * kibibyte }],
      failures: [],
      last: true,
      moved: false,
    });
  });
});

describe('A peer that lies in SYNC', () => {
  const honest: Sync = { streams: [], failures: [], last: true, moved: false };

  /**
   * A session with two open streams on a new link. 1000 bytes of each were sent, and 300 bytes of
   * the first are acknowledged.
   */
  function resumed(side: 'dialer' | 'agent' = 'agent'): ScriptedSession {
    const scripted = new ScriptedSession(side);
    for (const number of [1, 2]) {
      if (side === 'agent') scripted.receiveOpen(number);
      else scripted.dial();
      scripted.streams.get(number)!.write(1_000);
    }
    scripted.sent();
    scripted.receive(FrameType.credit, 1, offsets(300, 256 * kibibyte));
    scripted.relink();
    scripted.sent();
    return scripted;
  }

  const limit = 256 * kibibyte;
  const second = { stream: 2, received: 400, limit };

  it.each([
    ['more than was sent', 1_001],
    ['far more than was sent', 2 ** 50],
    ['less than it said before', 299],
    ['less than nothing', -1],
  ])('A peer loses only the stream of which it claims in SYNC to have %s', async (_, received) => {
    const scripted = resumed();
    const streams = [{ stream: 1, received, limit }, second];
    scripted.receive(FrameType.sync, 0, encodeSync({ ...honest, streams }));
    const frames = scripted.sent();
    await scripted.clock.advance(0);
    expect(scripted.streams.get(1)!.ending).toBe('protocol_error');
    expect(scripted.streams.get(2)!.ending).toBeUndefined();
    expect(
      frames.filter(({ type }) => type === FrameType.reset).map(({ stream }) => stream),
    ).toEqual([1]);
    const data = frames.filter(({ type }) => type === FrameType.data);
    expect(data.map(({ stream, payload }) => [stream, payload.length])).toEqual([[2, 600]]);
    expect(scripted.broken).toEqual([]);
    expect(scripted.log.lines).toHaveLength(1);
  });

  it('A peer gets at most a window beyond the bytes that it has, whatever limit it claims in SYNC', () => {
    const scripted = resumed();
    const stream = scripted.streams.get(2)!;
    stream.send({ bytes: 64 * 1024 * kibibyte, end: 'nothing' });
    const streams = [{ ...second, limit: Number.MAX_SAFE_INTEGER }];
    scripted.receive(FrameType.sync, 0, encodeSync({ ...honest, streams }));
    for (let turn = 0; turn < 1_000; turn++) scripted.sent();
    expect(stream.writtenBytes).toBeLessThanOrEqual(400 + 16 * 1024 * kibibyte + 16 * kibibyte);
  });

  it('A peer that names unknown streams in SYNC does not affect other streams', () => {
    const scripted = resumed();
    const streams = [second, { stream: 99, received: 7, limit: 9 }, { ...second, stream: -3 }];
    const failures = [{ stream: 77, code: 'reset', message: 'x' } as const];
    scripted.receive(FrameType.sync, 0, encodeSync({ ...honest, streams, failures }));
    expect(scripted.session.streamCount).toBe(1);
    scripted.receiveOpen(3);
    expect(scripted.session.streamCount).toBe(2);
  });

  it.each(['dialer', 'agent'] as const)(
    'A peer that repeats SYNC breaks the session of the %s',
    async (side) => {
      const scripted = resumed(side);
      const streams = [{ ...second, stream: 1 }, second];
      const sync = encodeSync({ ...honest, streams });
      scripted.receive(FrameType.sync, 0, sync);
      expect(scripted.broken).toEqual([]);
      scripted.receive(FrameType.sync, 0, sync);
      expect(scripted.broken).toMatchObject([{ code: 'protocol_error' }]);
      expect(scripted.broken[0]?.message).toContain('in step');
    },
  );

  it('A peer that sends SYNC breaks a session that never had another link', () => {
    const scripted = new ScriptedSession('agent');
    scripted.receiveOpen(1);
    scripted.receive(FrameType.sync, 0, encodeSync(honest));
    expect(scripted.broken).toMatchObject([{ code: 'protocol_error' }]);
  });

  it.each([
    ['nothing', Uint8Array.of()],
    ['no MessagePack', Uint8Array.of(0xc1)],
    ['no lists', encodeMessage({ last: true })],
    ['rows of one number', encodeMessage({ streams: [[1]], failures: [], last: true })],
    ['an OPEN', encodeOpen({ target: sampleTarget, window: 1, timeoutMs: 0 })],
  ])('A peer breaks its session with a SYNC of %s', (_, payload) => {
    const scripted = resumed();
    scripted.receive(FrameType.sync, 0, payload);
    expect(scripted.broken).toMatchObject([{ code: 'protocol_error' }]);
    expect(scripted.log.lines).toHaveLength(1);
  });

  it.each(['streams', 'failures'] as const)(
    'A peer breaks its session with endless %s in SYNC',
    (list) => {
      const scripted = resumed();
      const rows = (from: number): Sync => ({
        ...honest,
        last: false,
        streams: list === 'failures' ? [] : numbers(from).map((stream) => ({ ...second, stream })),
        failures:
          list === 'streams'
            ? []
            : numbers(from).map((stream) => ({ stream, code: 'reset', message: 'x' })),
      });
      let frames = 0;
      while (scripted.broken.length === 0 && frames < 100) {
        scripted.receive(FrameType.sync, 0, encodeSync(rows(1_000 * frames++)));
      }
      expect(scripted.broken).toMatchObject([{ code: 'protocol_error' }]);
      expect(frames).toBe(11);
    },
  );

  it('A peer that sends stream frames before SYNC harms only the stream itself', async () => {
    const scripted = resumed();
    scripted.receiveData(1, 10);
    scripted.receive(FrameType.credit, 1, offsets(5_000, 5_000));
    const streams = [second];
    scripted.receive(FrameType.sync, 0, encodeSync({ ...honest, streams }));
    await scripted.clock.advance(0);
    expect(scripted.streams.get(1)!.ending).toBe('protocol_error');
    expect(scripted.streams.get(2)!.ending).toBeUndefined();
  });
});

function numbers(from: number): number[] {
  return Array.from({ length: 1_000 }, (_, at) => from + at);
}

describe('A link that its session leaves', () => {
  it('A session that leaves its link tells the other end once, in the last frame', () => {
    const scripted = new ScriptedSession('agent');
    scripted.receiveOpen(1);
    scripted.sent();
    scripted.session.leave();
    scripted.relink();
    const [left, fresh] = scripted.sent();
    expect(decodeSync(left!.payload)).toMatchObject({ moved: true });
    expect(decodeSync(fresh!.payload)).toMatchObject({ moved: false, streams: [{ stream: 1 }] });
    expect(scripted.session.streamCount).toBe(1);
  });

  it('A session reports that the other end left its link, before and after SYNC, and breaks nothing', () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dial();
    const moved = encodeSync({ streams: [], failures: [], last: true, moved: true });
    scripted.receive(FrameType.sync, 0, moved);
    scripted.relink();
    scripted.receive(FrameType.sync, 0, moved);
    expect(scripted.moved).toBe(2);
    expect(scripted.broken).toEqual([]);
    expect(scripted.session.streamCount).toBe(1);
  });
});
