import { describe, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { readOffset } from '../../src/tunnel/offset.ts';
import { type LinkedSessions, linkedSessions } from '../../testkit/link/linked-sessions.ts';
import {
  ScriptedSession,
  offsets,
  type ScriptedFrame,
} from '../../testkit/stream/scripted-session.ts';

const kibibyte = 1024;
const windowBytes = 256 * kibibyte;

function expectNothingLeft({ ends, clock }: LinkedSessions): void {
  for (const { session, pool, budget, guard, log } of ends) {
    expect(session.streamCount).toBe(0);
    expect(pool.inUseBytes).toBe(0);
    expect(session.budget.grantedBytes + budget.grantedBytes).toBe(0);
    expect(guard.breaches).toEqual([]);
    expect(log.lines).toEqual([]);
  }
  expect(clock.pendingTimers).toBe(0);
}

/** CREDIT frames for a stream, as pairs of `received` and `limit`. */
function creditsIn(frames: readonly ScriptedFrame[]): number[][] {
  return frames
    .filter(({ type }) => type === FrameType.credit)
    .map(({ payload }) => [readOffset(payload, 0), readOffset(payload, 8)]);
}

describe('stopReceiving', () => {
  it('stopReceiving ends an endless sender, and after it nothing is granted and nothing is delivered', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    accepted.send({ bytes: Infinity });
    await sessions.clock.advance(100);
    const sentBefore = accepted.writtenBytes;
    dialed.stopReceiving();
    const receivedBefore = dialed.receivedBytes;
    expect(receivedBefore).toBeGreaterThan(0);
    await sessions.clock.advance(10);
    expect(accepted.events).toContain('stopped');
    await sessions.clock.runUntilIdle();
    expect(dialed.receivedBytes).toBe(receivedBefore);
    expect(sentBefore).toBeGreaterThan(0);
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
    expectNothingLeft(sessions);
  });

  it('stopReceiving together with fin delivers all written bytes to a slow reader that still sends', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    accepted.stopReading();
    accepted.send({ bytes: 10_000 * kibibyte });
    dialed.write(2_000 * kibibyte);
    await sessions.clock.runUntilIdle();
    dialed.stopReceiving();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect(dialed.closes).toEqual([]);
    while (accepted.closes.length === 0) {
      accepted.take(10 * kibibyte);
      await sessions.clock.advance(5);
    }
    accepted.readOn();
    await sessions.clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(2_000 * kibibyte);
    expect(accepted.firstWrongByte).toBeUndefined();
    expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
    expectNothingLeft(sessions);
  });

  it('stopReceiving works from the agent to the dialer as well', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 100_000 * kibibyte });
    await sessions.clock.advance(100);
    accepted.stopReceiving();
    accepted.fin();
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toContain('stopped');
    expect(accepted.receivedBytes).toBeLessThan(100_000 * kibibyte);
    expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
    expectNothingLeft(sessions);
  });

  it('stopReceiving lets the stopped writer continue to write, without effect and without waiting', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.stopReceiving();
    await sessions.clock.runUntilIdle();
    expect(accepted.write(100 * windowBytes)).toBe(true);
    expect(sessions.agent.pool.inUseBytes).toBe(0);
    accepted.fin();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expectNothingLeft(sessions);
  });

  it('stopReceiving before the answer of the dial takes effect with the answer', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    dialed.stopReceiving();
    accepted.accept();
    accepted.send({ bytes: 10 * windowBytes });
    await sessions.clock.runUntilIdle();
    expect(dialed.receivedBytes).toBe(0);
    expect(accepted.events).toContain('stopped');
  });

  it('stopReceiving after the last byte and the FIN changes nothing', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    accepted.send({ bytes: 1000 });
    await sessions.clock.runUntilIdle();
    dialed.stopReceiving();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
    expectNothingLeft(sessions);
  });

  it('stopReceiving returns the window to the budgets at once', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.stopReading();
    accepted.send({ bytes: 10 * windowBytes });
    await sessions.clock.runUntilIdle();
    expect(sessions.dialer.budget.grantedBytes).toBe(windowBytes);
    dialed.stopReceiving();
    expect(sessions.dialer.budget.grantedBytes).toBe(0);
    dialed.take(windowBytes);
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expectNothingLeft(sessions);
  });
});

describe('stopReceiving on a new link', () => {
  for (const cutMs of [0, 5, 10, 15, 20, 25, 30, 300]) {
    it(`stopReceiving still holds when the link is lost ${cutMs} ms later`, async () => {
      const sessions = linkedSessions({ latencyMs: () => 10, resumes: true });
      const [dialed, accepted] = await sessions.opened();
      accepted.send({ bytes: 100_000 * kibibyte });
      dialed.write(500 * kibibyte);
      await sessions.clock.advance(100);
      dialed.stopReceiving();
      dialed.fin();
      const { receivedBytes } = dialed;
      await sessions.clock.advance(cutMs);
      sessions.dialer.link.cut();
      await sessions.clock.advance(1_000);
      sessions.relink();
      await sessions.clock.runUntilIdle();
      expect(dialed.receivedBytes).toBe(receivedBytes);
      expect(accepted.receivedBytes).toBe(500 * kibibyte);
      expect(accepted.events.filter((event) => event === 'stopped')).toHaveLength(1);
      expect([dialed.closes, accepted.closes]).toEqual([[undefined], [undefined]]);
      expect(sessions.agent.session.resentBytes).toBe(0);
      expectNothingLeft(sessions);
    });
  }
});

describe('An agent that is stopped', () => {
  it('An agent that is stopped ends its direction behind the bytes that it sent, once, even after repeated stops', () => {
    const scripted = new ScriptedSession('agent');
    const open = { kind: 'tcp', host: 'kube', port: 6443, window: 1000, timeoutMs: 0, stop: true };
    scripted.receive(FrameType.open, 1, open);
    const accepted = scripted.streams.get(1)!;
    accepted.write(5000);
    scripted.sent();
    for (let time = 0; time < 3; time++) scripted.receive(FrameType.credit, 1, offsets(300, 0));
    const sent = scripted.sent();
    expect(sent.map(({ type }) => type)).toEqual([FrameType.fin]);
    expect(readOffset(sent[0]!.payload, 0)).toBe(1000);
    expect(scripted.pool.inUseBytes).toBe(0);
    expect(accepted.events).toEqual(['stopped']);
  });

  it('An agent does not read a limit of 0 as a stop from a dialer without the stop feature', () => {
    const scripted = new ScriptedSession('agent');
    const open = { kind: 'tcp', host: 'kube', port: 6443, window: 1000, timeoutMs: 0 };
    scripted.receive(FrameType.open, 1, open);
    const accepted = scripted.streams.get(1)!;
    accepted.write(5000);
    scripted.sent();
    scripted.receive(FrameType.credit, 1, offsets(300, 0));
    expect(accepted.events).toEqual([]);
    scripted.receive(FrameType.credit, 1, offsets(1000, 2000));
    expect(scripted.sent().map(({ type, payload }) => [type, payload.length])).toEqual([
      [FrameType.data, 1000],
    ]);
  });
});

describe('A dialer whose agent does not know stopReceiving', () => {
  it('A dialer drops the bytes of an agent without the stop feature and gives credit for them, so that the stream ends', () => {
    const scripted = new ScriptedSession('dialer');
    const dialed = scripted.dialUnanswered();
    scripted.receive(FrameType.opened, 1, encodeMessage({ window: 1000 }));
    scripted.sent();
    dialed.stopReading();
    scripted.receiveData(1, windowBytes / 2);
    scripted.sent();
    dialed.stopReceiving();
    expect(creditsIn(scripted.sent())).toEqual([[windowBytes / 2, windowBytes * 1.5]]);
    scripted.receiveData(1, windowBytes);
    expect(creditsIn(scripted.sent())).toEqual([[windowBytes * 1.5, windowBytes * 2.5]]);
    expect(dialed.receivedBytes).toBe(windowBytes / 2);
  });

  it('A dialer sends a stop to an agent that knows it, and no more credit', async () => {
    const scripted = new ScriptedSession('dialer');
    const dialed = scripted.dialUnanswered();
    scripted.receive(FrameType.opened, 1, encodeMessage({ window: 1000, stop: true }));
    scripted.sent();
    dialed.stopReceiving();
    expect(creditsIn(scripted.sent())).toEqual([[0, 0]]);
    scripted.receiveData(1, windowBytes);
    expect(creditsIn(scripted.sent())).toEqual([]);
    await scripted.clock.advance(250);
    expect(creditsIn(scripted.sent())).toEqual([[windowBytes, 0]]);
    scripted.receive(FrameType.fin, 1, offsets(windowBytes));
    expect(creditsIn(scripted.sent())).toEqual([[windowBytes + 1, 0]]);
  });
});
