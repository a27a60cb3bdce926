import { describe, expect, it } from 'vitest';
import { tunnelErrorCodes } from '../../src/tunnel/errors.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import {
  LinkedSessions,
  linkedSessions,
  sampleTarget,
} from '../../testkit/link/linked-sessions.ts';

const kibibyte = 1024;

/** Expects that both ends have freed all resources of a stream. */
function expectNothingLeft<L extends AttachableLink>({ ends }: LinkedSessions<L>): void {
  for (const { session, pool, budget, guard, log } of ends) {
    expect({
      streams: session.streamCount,
      slabBytes: pool.inUseBytes,
      sessionWindowBytes: session.budget.grantedBytes,
      processWindowBytes: budget.grantedBytes,
      callbacksInsideVerbs: guard.breaches,
      logLines: log.lines,
    }).toEqual({
      streams: 0,
      slabBytes: 0,
      sessionWindowBytes: 0,
      processWindowBytes: 0,
      callbacksInsideVerbs: [],
      logLines: [],
    });
  }
}

describe('Opening a stream', () => {
  it('A dial tells the agent the target and the time, and the dialer when the stream is open', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const target = { kind: 'tcp', host: 'svc.ns', port: 8080 } as const;
    const dialed = sessions.open(target, 7_000);
    await sessions.clock.advance(100);
    const accepted = sessions.accepted.get(dialed.stream.number)!;
    expect(accepted).toMatchObject({ request: { target, timeoutMs: 7_000 } });
    expect(dialed.events).toEqual([]);
    accepted.accept();
    await sessions.clock.advance(100);
    expect(dialed.events).toEqual(['opened']);
  });

  it("A dial takes the link's latency once in each direction", async () => {
    const sessions = linkedSessions({ latencyMs: () => 50 });
    const dialed = sessions.open();
    await sessions.clock.advance(99);
    expect(dialed.events).toEqual([]);
    await sessions.clock.advance(1);
    expect(dialed.events).toEqual(['opened']);
  });

  it.each(tunnelErrorCodes)(
    'A dial ends with %s when the agent answers with that code',
    async (code) => {
      const sessions = linkedSessions({
        onAccept: (stream) => stream.reset(code, `because of ${code}`),
      });
      const [dialed, accepted] = await sessions.opened();
      expect(dialed.events).toEqual([`closed: ${code}`]);
      expect(dialed.closes[0]).toMatchObject({ code, message: `because of ${code}` });
      expect(accepted.events).toEqual([`closed: ${code}`]);
      expect(sessions.agent.link.sent.map(({ name }) => name)).toEqual(['REFUSED']);
      expectNothingLeft(sessions);
    },
  );

  it('A dial is refused later as well as at once', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    accepted.reset('refused', 'connection refused');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: refused']);
    expectNothingLeft(sessions);
  });

  it('A dial that is cancelled before it could be sent never reaches the agent', async () => {
    const sessions = linkedSessions();
    const dialed = sessions.open();
    dialed.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: cancelled']);
    expect(sessions.accepted.size).toBe(0);
    expect(sessions.dialer.link.sent).toEqual([]);
    expectNothingLeft(sessions);
  });

  it('A dial that is cancelled before OPENED ends at the agent as well', async () => {
    const sessions = linkedSessions({ onAccept: () => {}, latencyMs: () => 10 });
    const dialed = sessions.open();
    await sessions.clock.advance(30);
    dialed.reset('cancelled', 'the client left');
    await sessions.clock.runUntilIdle();
    const accepted = sessions.accepted.get(dialed.stream.number)!;
    expect(accepted.events).toEqual(['closed: cancelled']);
    expect(accepted.closes[0]?.message).toBe('the client left');
    expect(dialed.events).toEqual(['closed: cancelled']);
    expectNothingLeft(sessions);
  });

  it('A dial survives a cancel that crosses OPENED', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const dialed = sessions.open();
    await sessions.clock.advance(15);
    dialed.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: cancelled']);
    expect(sessions.accepted.get(dialed.stream.number)!.events).toEqual(['closed: cancelled']);
    expectNothingLeft(sessions);
  });

  it("A dial ends with timeout when no answer comes within two seconds after the agent's time", async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const dialed = sessions.open(undefined, 5_000);
    await sessions.clock.advance(6_999);
    expect(dialed.events).toEqual([]);
    await sessions.clock.advance(1);
    expect(dialed.events).toEqual(['closed: timeout']);
    expect(dialed.closes[0]?.message).toContain('7000 ms');
    await sessions.clock.runUntilIdle();
    expect(sessions.accepted.get(dialed.stream.number)!.ending).toBe('timeout');
    expectNothingLeft(sessions);
  });

  it('A dial without a time waits without end', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    await sessions.clock.advance(3_600_000);
    expect(dialed.events).toEqual([]);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened']);
  });

  it('A dial leaves no timer behind after its answer', async () => {
    const sessions = linkedSessions();
    const dialed = sessions.open(undefined, 5_000);
    await sessions.clock.advance(20_000);
    expect(dialed.events).toEqual(['opened']);
  });

  it('A session sends the bytes of a target that speaks before the dial has settled, but only after OPENED', async () => {
    const sessions = linkedSessions({ onAccept: (stream) => stream.send({ bytes: 1000 }) });
    const [dialed, accepted] = await sessions.opened();
    expect(sessions.agent.link.sent).toEqual([]);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.link.sent.map(({ name }) => name)).toEqual(['OPENED', 'DATA', 'FIN']);
    expect(dialed).toMatchObject({ receivedBytes: 1000, firstWrongByte: undefined });
    expect(dialed.events).toEqual(['opened', 'fin']);
  });

  it('A session sends a half-close that the dialer made before OPENED after OPENED', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const dialed = sessions.open();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    const accepted = sessions.accepted.get(dialed.stream.number)!;
    expect(accepted.events).toEqual([]);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual(['fin']);
  });

  it('A session does nothing more when the handler ends a stream during its creation', async () => {
    const sessions = linkedSessions();
    const closes: unknown[] = [];
    sessions.dialer.session.open({ target: sampleTarget, timeoutMs: 0 }, (stream) => {
      queueMicrotask(() => closes.push('later'));
      stream.reset(new Error('no') as never);
      return { onData() {}, onFin() {}, onWritable() {}, onClose: (error) => closes.push(error) };
    });
    await sessions.clock.runUntilIdle();
    expect(closes).toHaveLength(2);
    expect(sessions.accepted.size).toBe(0);
    expectNothingLeft(sessions);
  });
});

describe('Half-close', () => {
  it.each([
    ['the dialer first', 'dialer'],
    ['the agent first', 'agent'],
  ] as const)('Half-close keeps the other direction open: %s', async (_, first) => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    const [early, late] = first === 'dialer' ? [dialed, accepted] : [accepted, dialed];
    early.send({ bytes: 1000 });
    await sessions.clock.runUntilIdle();
    expect(late).toMatchObject({ receivedBytes: 1000, firstWrongByte: undefined });
    expect(late.events.filter((event) => event !== 'opened')).toEqual(['fin']);
    expect(early.closes).toEqual([]);

    late.send({ bytes: 300 * kibibyte });
    await sessions.clock.runUntilIdle();
    expect(early).toMatchObject({ receivedBytes: 300 * kibibyte, firstWrongByte: undefined });
    for (const end of [early, late]) {
      expect(end.ending).toBe('ok');
      expect(end.events.slice(-2)).toEqual(
        end === early ? ['fin', 'closed'] : ['writable', 'closed'],
      );
    }
    expectNothingLeft(sessions);
  });

  it('Half-close works from both sides at once', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 5 });
    accepted.send({ bytes: 7 });
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened', 'fin', 'closed']);
    expect(accepted.events).toEqual(['fin', 'closed']);
    expectNothingLeft(sessions);
  });

  it('Half-close is delivered after all written bytes, even with little credit', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    accepted.stopReading();
    dialed.write(300 * kibibyte);
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual([]);
    expect(accepted.receivedBytes).toBe(256 * kibibyte);
    accepted.readOn();
    await sessions.clock.runUntilIdle();
    expect(accepted.receivedBytes).toBe(300 * kibibyte);
    expect(accepted.events).toEqual(['fin']);
  });

  it('A second half-close of the same direction changes nothing', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.fin();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual(['fin']);
    expect(sessions.dialer.link.sent.map(({ name }) => name)).toEqual(['OPEN', 'FIN']);
  });

  it('A write after the half-close throws, because it is a bug of the writer', async () => {
    const sessions = linkedSessions();
    const [dialed] = await sessions.opened();
    dialed.fin();
    expect(() => dialed.write(1)).toThrow('write after fin on stream 1');
  });
});

describe('Reset', () => {
  it.each(['dialer', 'agent'] as const)(
    'A reset by the %s reaches the other end with code and sentence',
    async (side) => {
      const sessions = linkedSessions({ latencyMs: () => 10 });
      const [dialed, accepted] = await sessions.opened();
      const [by, to] = side === 'dialer' ? [dialed, accepted] : [accepted, dialed];
      by.reset('target_reset', 'connection reset by peer');
      await sessions.clock.runUntilIdle();
      expect(to.closes).toMatchObject([
        { code: 'target_reset', message: 'connection reset by peer' },
      ]);
      expect(by.closes).toMatchObject([
        { code: 'target_reset', message: 'connection reset by peer' },
      ]);
      expectNothingLeft(sessions);
    },
  );

  it("A reset notifies the stream's own handler later, not during the call of reset", async () => {
    const sessions = linkedSessions();
    const [dialed] = await sessions.opened();
    dialed.reset();
    expect(dialed.closes).toEqual([]);
    await Promise.resolve();
    expect(dialed.ending).toBe('reset');
    expect(sessions.dialer.guard.breaches).toEqual([]);
  });

  it('A reset drops the waiting bytes of both directions', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    accepted.stopReading();
    dialed.write(600 * kibibyte);
    accepted.write(100);
    dialed.reset();
    expect(sessions.dialer.pool.inUseBytes).toBeLessThanOrEqual(256 * kibibyte + 2 * 66 * kibibyte);
    await sessions.clock.runUntilIdle();
    expect(accepted.ending).toBe('reset');
    expectNothingLeft(sessions);
  });

  it('A second reset changes nothing, and every call after the end does nothing', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    accepted.stopReading();
    dialed.write(10);
    await sessions.clock.runUntilIdle();
    accepted.reset('refused');
    accepted.reset('dns');
    accepted.take(10);
    expect(accepted.write(10)).toBe(false);
    accepted.fin();
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual(['closed: refused']);
    expect(dialed.events).toEqual(['opened', 'closed: refused']);
    expectNothingLeft(sessions);
  });

  it('A reset of both sides at once ends each side with its own code', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    dialed.reset('cancelled');
    accepted.reset('target_reset');
    await sessions.clock.runUntilIdle();
    expect(dialed.ending).toBe('cancelled');
    expect(accepted.ending).toBe('target_reset');
    expectNothingLeft(sessions);
  });

  it('A reset after a half-close still reaches the other end', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    dialed.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual(['fin', 'closed: cancelled']);
    expectNothingLeft(sessions);
  });
});

describe('Two sessions in one process', () => {
  it('Two sessions in one process speak over function calls as they do over a network', async () => {
    const sessions = new LinkedSessions({}, (clock) =>
      memoryLinkPair((run) => void clock.setTimer(0, run), { roomBytes: 64 * kibibyte }),
    );
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 3000 * kibibyte });
    accepted.send({ bytes: 2000 * kibibyte });
    await sessions.clock.runUntilIdle();
    expect(accepted).toMatchObject({ receivedBytes: 3000 * kibibyte, firstWrongByte: undefined });
    expect(dialed).toMatchObject({ receivedBytes: 2000 * kibibyte, firstWrongByte: undefined });
    expect([dialed.ending, accepted.ending]).toEqual(['ok', 'ok']);
    expectNothingLeft(sessions);
  });
});

describe('The end of a session', () => {
  it('The end of a session ends every stream with the reason, and no stream can be opened after it', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.write(1000);
    sessions.dialer.link.cut();
    const late = sessions.open();
    await sessions.clock.runUntilIdle();
    for (const stream of [dialed, accepted, late]) expect(stream.ending).toBe('link_lost');
    expectNothingLeft(sessions);
  });

  it('The end of a session leaves no timer that touches an ended stream', async () => {
    const sessions = linkedSessions();
    const [dialed] = await sessions.opened();
    const waiting = sessions.open(undefined, 1_000);
    dialed.write(1);
    await sessions.clock.advance(10);
    sessions.agent.link.cut();
    await sessions.clock.advance(60_000);
    expect(waiting.events).toEqual(['opened', 'closed: link_lost']);
    expectNothingLeft(sessions);
  });

  it('The wait for the last stream of a session ends when the stream has ended', async () => {
    const sessions = linkedSessions();
    const [first] = await sessions.opened();
    const [second] = await sessions.opened();
    const done: string[] = [];
    const never = new AbortController().signal;
    void sessions.dialer.session.idle(never).then(() => done.push('idle'));
    first.reset();
    await sessions.clock.runUntilIdle();
    expect(done).toEqual([]);
    second.reset();
    await sessions.clock.runUntilIdle();
    expect(done).toEqual(['idle']);
    await sessions.dialer.session.idle(never);
  });

  it('The wait for the last stream of a session ends when its signal aborts', async () => {
    const sessions = linkedSessions();
    await sessions.opened();
    const waiting = new AbortController();
    const idle = sessions.dialer.session.idle(waiting.signal);
    waiting.abort(new Error('no more patience'));
    await expect(idle).rejects.toThrow('no more patience');
  });
});
