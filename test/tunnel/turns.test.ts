import { describe, expect, it } from 'vitest';
import { FrameType, frameName } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { maxDataBytes } from '../../src/tunnel/slab.ts';
import { linkedSessions } from '../../testkit/link/linked-sessions.ts';
import { ScriptedSession, offsets } from '../../testkit/stream/scripted-session.ts';

const mebibyte = 1024 * 1024;

/** The sent frames, like `DATA 1`. */
function names(scripted: ScriptedSession): string[] {
  return scripted.sent().map(({ type, stream }) => `${frameName(type)} ${stream}`);
}

describe('Control frames', () => {
  it('Control frames go before waiting data', () => {
    const scripted = new ScriptedSession('agent');
    for (const number of [1, 2, 3, 4]) scripted.receiveOpen(number);
    scripted.sent();
    scripted.streams.get(1)!.write(100_000);
    scripted.streams.get(2)!.fin();
    scripted.streams.get(3)!.reset();
    scripted.receive(FrameType.fin, 4, offsets(0));
    scripted.receive(FrameType.ping, 0, new Uint8Array(8));
    scripted.receiveOpen(5);
    expect(names(scripted)).toEqual([
      'PONG 0',
      'FIN 2',
      'RESET 3',
      'CREDIT 4',
      'OPENED 5',
      'DATA 1',
      'DATA 1',
    ]);
  });

  it('Control frames do not overtake the data of their own stream if the order matters: FIN comes last', () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dial().send({ bytes: 100_000 });
    expect(names(scripted)).toEqual(['DATA 1', 'DATA 1', 'FIN 1']);
  });

  it('Control frames are merged while they wait: many grants become one CREDIT with the latest numbers', () => {
    const scripted = new ScriptedSession('dialer');
    const stream = scripted.dial();
    for (let turn = 0; turn < 10; turn++) scripted.receiveData(1, 100_000);
    const credits = scripted.sent().filter(({ type }) => type === FrameType.credit);
    expect(credits.map(({ payload }) => [...payload])).toEqual([
      [...offsets(1_000_000, 1_000_000 + 256 * 1024)],
    ]);
    expect(stream.receivedBytes).toBe(1_000_000);
  });

  it('Control frames of a stream that was reset are replaced by RESET', () => {
    const scripted = new ScriptedSession('agent');
    scripted.receiveOpen(1);
    scripted.receive(FrameType.fin, 1, offsets(0));
    scripted.streams.get(1)!.reset();
    expect(names(scripted)).toEqual(['RESET 1']);
  });
});

describe('Data frames', () => {
  it('Data is sent in frames of at most 64 KiB, even after a larger write', () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dial().write(200_000);
    const sizes = scripted.sent().map(({ payload }) => payload.length);
    expect(sizes.length).toBe(4);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(200_000);
    for (const size of sizes.slice(0, 3)) {
      expect(size).toBeLessThanOrEqual(maxDataBytes);
      expect(size).toBeGreaterThan(maxDataBytes - 1024);
    }
  });

  it('Data is sent one frame per stream in turn', () => {
    const scripted = new ScriptedSession('dialer');
    const streams = [scripted.dial(), scripted.dial(), scripted.dial()];
    for (const stream of streams) stream.write(stream.stream.number === 2 ? 100_000 : 220_000);
    expect(
      names(scripted)
        .map((name) => name.slice(-1))
        .join(''),
    ).toBe('1231231313');
  });

  it('Data of a later stream takes its turn behind the streams that wait', () => {
    const scripted = new ScriptedSession('dialer');
    const [first, second] = [scripted.dial(), scripted.dial()];
    first.write(220_000);
    scripted.session.pullFrame();
    second.write(20_000);
    expect(names(scripted)).toEqual(['DATA 1', 'DATA 1', 'DATA 2', 'DATA 1', 'DATA 1']);
  });

  it('Data of a stream with at most 16 KiB goes before that of streams with more', () => {
    const scripted = new ScriptedSession('dialer');
    const [first, second] = [scripted.dial(), scripted.dial()];
    first.write(220_000);
    scripted.session.pullFrame();
    second.write(16 * 1024);
    expect(names(scripted)).toEqual(['DATA 1', 'DATA 2', 'DATA 1', 'DATA 1', 'DATA 1']);
  });

  it('Data of a stream that waits takes its turn with the others once it is more than 16 KiB', () => {
    const scripted = new ScriptedSession('dialer');
    const [first, second, third] = [scripted.dial(), scripted.dial(), scripted.dial()];
    first.write(100_000);
    second.write(1);
    third.write(1);
    second.write(30_000);
    expect(names(scripted).slice(0, 3)).toEqual(['DATA 3', 'DATA 1', 'DATA 2']);
  });

  it('Data that was cut off by the credit continues when credit arrives, without another write', () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dial(1000).write(1500);
    expect(scripted.sent().map(({ payload }) => payload.length)).toEqual([1000]);
    scripted.receive(FrameType.credit, 1, offsets(1000, 1200));
    scripted.receive(FrameType.credit, 1, offsets(1000, 2000));
    expect(scripted.sent().map(({ payload }) => payload.length)).toEqual([500]);
  });

  it("Data that leaves during another stream's write wakes its own writer after that write", async () => {
    const scripted = new ScriptedSession('dialer');
    const [first, second] = [scripted.dialUnanswered(), scripted.dial()];
    expect(first.write(1000)).toBe(false);
    scripted.receive(FrameType.opened, 1, { window: 2000 });
    scripted.pullsAtOnce = true;
    second.write(maxDataBytes);
    expect(names(scripted)).toEqual(['DATA 1', 'DATA 2']);
    expect(first.events).toEqual(['opened']);
    await scripted.clock.advance(0);
    expect(first.events).toEqual(['opened', 'writable']);
    expect(scripted.guard.breaches).toEqual([]);
  });

  it('Data of a stream that ended while it waited is not sent', () => {
    const scripted = new ScriptedSession('dialer');
    const [first, second] = [scripted.dial(), scripted.dial()];
    first.write(100_000);
    second.write(10);
    scripted.receive(FrameType.reset, 1, encodeMessage({ code: 'reset', message: '' }));
    expect(names(scripted)).toEqual(['DATA 2']);
  });
});

describe('An interactive stream beside 16 bulk streams', () => {
  it('An interactive stream waits for the bytes in the link and at most one frame of each bulk stream', async () => {
    const sessions = linkedSessions({
      bytesPerMs: 100_000,
      latencyMs: () => 5,
      limits: { initialWindowBytes: 2 * mebibyte, sessionBudgetBytes: 512 * mebibyte },
    });
    const { clock } = sessions;
    const { link } = sessions.dialer;
    const [interactive] = await sessions.opened();
    const bulk = Array.from({ length: 16 }, () => sessions.open());
    await clock.runUntilIdle();
    for (const stream of bulk) stream.send({ bytes: 8 * mebibyte });

    const waits: number[] = [];
    for (let key = 0; key < 50; key++) {
      await clock.advance(11.3);
      const given = link.sent.length;
      expect(link.room).toBeLessThanOrEqual(0);
      interactive.write(1);
      await clock.advance(11.3);
      const at = link.sent.findIndex(
        ({ stream }, index) => index >= given && stream === interactive.stream.number,
      );
      waits.push(at - given);
    }
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...waits)).toBeLessThanOrEqual(bulk.length);
    // The byte also waits for the bytes in the room of the link.
    expect(link.peakQueuedBytes).toBeLessThanOrEqual(256 * 1024 + maxDataBytes + 12);
  });

  it('Bulk streams share the link evenly beside an interactive stream', async () => {
    const sessions = linkedSessions({
      bytesPerMs: 100_000,
      limits: { initialWindowBytes: 2 * mebibyte, sessionBudgetBytes: 512 * mebibyte },
    });
    const bulk = Array.from({ length: 16 }, () => sessions.open());
    await sessions.clock.runUntilIdle();
    for (const stream of bulk) stream.send({ bytes: 64 * mebibyte });
    const framesOfEach = (): number[] =>
      bulk.map(
        ({ stream }) =>
          sessions.dialer.link.sent.filter((frame) => frame.stream === stream.number).length,
      );
    // The first stream filled the link before the others wrote.
    await sessions.clock.advance(50);
    const before = framesOfEach();
    await sessions.clock.advance(200);
    const sent = framesOfEach().map((frames, at) => frames - before[at]!);
    expect(Math.min(...sent)).toBeGreaterThan(10);
    expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(1);
  });
});
