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

/** Everything that a stream used is back, at both ends. */
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

describe('opening a stream', () => {
  it('tells the agent the target and the time, and the dialer when it is open', async () => {
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

  it('takes a latency each way', async () => {
    const sessions = linkedSessions({ latencyMs: () => 50 });
    const dialed = sessions.open();
    await sessions.clock.advance(99);
    expect(dialed.events).toEqual([]);
    await sessions.clock.advance(1);
    expect(dialed.events).toEqual(['opened']);
  });

  it.each(tunnelErrorCodes)('ends with %s where the agent gives that', async (code) => {
    const sessions = linkedSessions({
      onAccept: (stream) => stream.reset(code, `because of ${code}`),
    });
    const [dialed, accepted] = await sessions.opened();
    expect(dialed.events).toEqual([`closed: ${code}`]);
    expect(dialed.closes[0]).toMatchObject({ code, message: `because of ${code}` });
    expect(accepted.events).toEqual([`closed: ${code}`]);
    expect(sessions.agent.link.sent.map(({ name }) => name)).toEqual(['REFUSED']);
    expectNothingLeft(sessions);
  });

  it('is refused later as well as at once', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    accepted.reset('refused', 'connection refused');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: refused']);
    expectNothingLeft(sessions);
  });

  it('is not heard of by the agent when it is cancelled before it could be sent', async () => {
    const sessions = linkedSessions();
    const dialed = sessions.open();
    dialed.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: cancelled']);
    expect(sessions.accepted.size).toBe(0);
    expect(sessions.dialer.link.sent).toEqual([]);
    expectNothingLeft(sessions);
  });

  it('frees the agent when it is cancelled before OPENED', async () => {
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

  it('survives a cancel that crosses OPENED', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const dialed = sessions.open();
    await sessions.clock.advance(15);
    dialed.reset('cancelled');
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['closed: cancelled']);
    expect(sessions.accepted.get(dialed.stream.number)!.events).toEqual(['closed: cancelled']);
    expectNothingLeft(sessions);
  });

  it('ends with timeout when no answer comes, two seconds after the time the agent was given', async () => {
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

  it('waits without end where no time is given', async () => {
    const sessions = linkedSessions({ onAccept: () => {} });
    const [dialed, accepted] = await sessions.opened();
    await sessions.clock.advance(3_600_000);
    expect(dialed.events).toEqual([]);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened']);
  });

  it('leaves no timer behind once it is answered', async () => {
    const sessions = linkedSessions();
    const dialed = sessions.open(undefined, 5_000);
    await sessions.clock.advance(20_000);
    expect(dialed.events).toEqual(['opened']);
  });

  it('sends what a target says before the dial has settled after OPENED, not before', async () => {
    const sessions = linkedSessions({ onAccept: (stream) => stream.send({ bytes: 1000 }) });
    const [dialed, accepted] = await sessions.opened();
    expect(sessions.agent.link.sent).toEqual([]);
    accepted.accept();
    await sessions.clock.runUntilIdle();
    expect(sessions.agent.link.sent.map(({ name }) => name)).toEqual(['OPENED', 'DATA', 'FIN']);
    expect(dialed).toMatchObject({ receivedBytes: 1000, firstWrongByte: undefined });
    expect(dialed.events).toEqual(['opened', 'fin']);
  });

  it('sends a half-close that the dialer made before OPENED after it', async () => {
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

  it('does nothing more where the handler ends the stream while it is made', async () => {
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

describe('half-close', () => {
  it.each([
    ['the dialer first', 'dialer'],
    ['the agent first', 'agent'],
  ] as const)('keeps the other direction open: %s', async (_, first) => {
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

  it('works from both sides at once', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    dialed.send({ bytes: 5 });
    accepted.send({ bytes: 7 });
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened', 'fin', 'closed']);
    expect(accepted.events).toEqual(['fin', 'closed']);
    expectNothingLeft(sessions);
  });

  it('is delivered after all that was written, however little credit there is', async () => {
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

  it('twice is once', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.fin();
    dialed.fin();
    await sessions.clock.runUntilIdle();
    expect(accepted.events).toEqual(['fin']);
    expect(sessions.dialer.link.sent.map(({ name }) => name)).toEqual(['OPEN', 'FIN']);
  });

  it("is the writer's last word: a write after it is a bug and says so", async () => {
    const sessions = linkedSessions();
    const [dialed] = await sessions.opened();
    dialed.fin();
    expect(() => dialed.write(1)).toThrow('write after fin on stream 1');
  });
});

describe('reset', () => {
  it.each(['dialer', 'agent'] as const)(
    'by the %s reaches the other end with code and sentence',
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

  it('tells the own handler later, not from inside the verb', async () => {
    const sessions = linkedSessions();
    const [dialed] = await sessions.opened();
    dialed.reset();
    expect(dialed.closes).toEqual([]);
    await Promise.resolve();
    expect(dialed.ending).toBe('reset');
    expect(sessions.dialer.guard.breaches).toEqual([]);
  });

  it('throws away what waits in either direction', async () => {
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

  it('twice is once, and every verb after the end does nothing', async () => {
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

  it('of both sides at once ends each with its own code', async () => {
    const sessions = linkedSessions({ latencyMs: () => 10 });
    const [dialed, accepted] = await sessions.opened();
    dialed.reset('cancelled');
    accepted.reset('target_reset');
    await sessions.clock.runUntilIdle();
    expect(dialed.ending).toBe('cancelled');
    expect(accepted.ending).toBe('target_reset');
    expectNothingLeft(sessions);
  });

  it('after a half-close still reaches the other end', async () => {
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

describe('two sessions in one process', () => {
  it('speak over function calls as they do over a network', async () => {
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

describe('the end of a session', () => {
  it('ends every stream with the reason, and none is opened any more', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    dialed.write(1000);
    sessions.dialer.link.cut();
    const late = sessions.open();
    await sessions.clock.runUntilIdle();
    for (const stream of [dialed, accepted, late]) expect(stream.ending).toBe('link_lost');
    expectNothingLeft(sessions);
  });

  it('leaves no timer that touches an ended stream', async () => {
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

  it('lets who waits for the last stream go on when it has ended', async () => {
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

  it('lets who waits for it give up', async () => {
    const sessions = linkedSessions();
    await sessions.opened();
    const waiting = new AbortController();
    const idle = sessions.dialer.session.idle(waiting.signal);
    waiting.abort(new Error('no more patience'));
    await expect(idle).rejects.toThrow('no more patience');
  });
});
