import { describe, expect, it } from 'vitest';
import { AgentTunnel } from '../../src/acceptor/agent-tunnel.ts';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { type MemoryLink, memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { decodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { encodeSync, type Sync } from '../../src/tunnel/sync-message.ts';
import { Session } from '../../src/tunnel/session.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { RecordingLogger, sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const [mine, other] = ['a'.repeat(32), 'b'.repeat(32)];
const open = encodeOpen({ target: sampleTarget, window: 1_000, timeoutMs: 0 });
const empty: Sync = { streams: [], failures: [], last: true, moved: false };

/** An agent with two tunnels to brokers of the test. Its targets accept and send nothing. */
async function makeAgent() {
  const clock = new VirtualClock(20);
  const log = new RecordingLogger();
  const ended: (string | undefined)[] = [];
  const sessions = new SessionStore({
    clock,
    log,
    resumeGraceMs: defaultLimits.resumeGraceMs,
    makeSession: (sessionLog, events) =>
      new Session({
        clock,
        limits: defaultLimits,
        pool: new SlabPool(),
        budget: new WindowBudget(2 ** 30),
        log: sessionLog,
        ...events,
        accept: (_request, stream) => {
          stream.accept();
          const onClose = (error: { code: string } | undefined) => void ended.push(error?.code);
          return { onData() {}, onFin() {}, onWritable() {}, onClose };
        },
      }),
  });
  const tunnelsEnded: (string | undefined)[] = [];
  const connect = (): PlayedLink<MemoryLink> => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    const tunnel = new AgentTunnel(near, {
      software: 'test',
      sessions,
      onWelcome() {},
      onGoAway() {},
      onClosed: (error) => void tunnelsEnded.push(error?.code),
    });
    expect(tunnel.link).toBe(near);
    return new PlayedLink(far);
  };
  const brokers = [connect(), connect()] as const;
  const say = async (broker: number, type: FrameType, session: number, payload: Uint8Array) => {
    const stream = type === FrameType.open ? 1 : 0;
    brokers[broker]!.link.sendCopy(type, session, stream, payload);
    await clock.advance(0);
  };
  const attach = (broker: number, number: number, fields: object) =>
    say(
      broker,
      FrameType.attach,
      number,
      encodeMessage({ dialer: 'd', session: mine, resume: false, ...fields }),
    );
  await attach(0, 1, {});
  await say(0, FrameType.open, 1, open);
  await attach(1, 2, { session: other, dialer: 'e' });
  await say(1, FrameType.open, 2, open);
  for (const broker of brokers) broker.frames.splice(0);
  /** The warnings about ended tunnels and sessions, each logged once. */
  const warned = () => log.lines.filter(({ event }) => /refused|broken/.test(event));
  return { clock, sessions, ended, tunnelsEnded, brokers, say, attach, warned };
}

type Agent = Awaited<ReturnType<typeof makeAgent>>;

/** Whether the agent still answers a PING of this session. */
async function isServed({ brokers, say, clock }: Agent, broker: number, number: number) {
  const frames = brokers[broker]!.frames;
  frames.splice(0);
  await say(broker, FrameType.ping, number, new Uint8Array(8));
  await clock.advance(0);
  return frames.some(({ type, session }) => type === FrameType.pong && session === number);
}

describe('A forged ATTACH', () => {
  it.each([
    ['for the session of another dialer', { dialer: 'mallory', resume: true }, 'forbidden'],
    [
      'for a session that no dialer has',
      { session: 'c'.repeat(32), resume: true },
      'unknown_session',
    ],
    ['that creates an existing session again', { dialer: 'mallory' }, 'unknown_session'],
  ])(
    'A forged ATTACH %s is refused with a typed code, logged once, and the real session continues',
    async (_, fields, code) => {
      const agent = await makeAgent();
      await agent.attach(1, 9, fields);
      const detach = await agent.brokers[1].next(FrameType.detach);
      expect(detach.session).toBe(9);
      expect(decodeFailure(FrameType.detach, detach.payload).code).toBe(code);
      expect(agent.warned()).toMatchObject([
        { event: 'session refused', fields: { code, session: 9 } },
      ]);
      expect([agent.ended, agent.tunnelsEnded, agent.sessions.size]).toEqual([[], [], 2]);
      expect([await isServed(agent, 0, 1), await isServed(agent, 1, 2)]).toEqual([true, true]);
    },
  );

  it.each([
    ['without a number', 0, {}],
    ['under a number that is taken', 2, { session: 'c'.repeat(32) }],
    ['with an invalid session id', 9, { session: 'x' }],
    ['with an invalid dialer', 9, { dialer: 7 }],
  ])('An ATTACH %s ends its own tunnel, once, and no other tunnel', async (_, number, fields) => {
    const agent = await makeAgent();
    await agent.attach(1, number, fields);
    expect(agent.tunnelsEnded).toEqual(['protocol_error']);
    expect(agent.brokers[1].ended?.error).toMatchObject({ code: 'protocol_error' });
    expect(await isServed(agent, 0, 1)).toBe(true);
    // The session of the ended tunnel waits for its dialer.
    expect([agent.ended, agent.sessions.size]).toEqual([[], 2]);
    await agent.attach(0, 3, { session: other, dialer: 'e', resume: true });
    await agent.brokers[0].next(FrameType.sync);
  });
});

describe('A replayed ATTACH', () => {
  it('A replayed ATTACH over the same tunnel ends that tunnel, because its session number is taken', async () => {
    const agent = await makeAgent();
    await agent.attach(0, 1, {});
    expect(agent.tunnelsEnded).toEqual(['protocol_error']);
    expect(await isServed(agent, 1, 2)).toBe(true);
    expect([agent.ended, agent.sessions.size]).toEqual([[], 2]);
  });

  it('A replayed ATTACH over another tunnel is refused, because the session exists already', async () => {
    const agent = await makeAgent();
    await agent.attach(1, 1, {});
    const { payload } = await agent.brokers[1].next(FrameType.detach);
    expect(decodeFailure(FrameType.detach, payload).code).toBe('unknown_session');
    expect(agent.warned()).toHaveLength(1);
    expect([await isServed(agent, 0, 1), await isServed(agent, 1, 2)]).toEqual([true, true]);
  });
});

describe('A session number of another tunnel', () => {
  it('A session number over a tunnel that does not carry the session reaches no session', async () => {
    const agent = await makeAgent();
    const reset = encodeMessage({ code: 'reset', message: 'x' });
    agent.brokers[1].link.sendCopy(FrameType.reset, 1, 1, reset);
    await agent.say(1, FrameType.detach, 1, reset);
    expect([agent.ended, agent.tunnelsEnded, agent.sessions.streamCount]).toEqual([[], [], 2]);
    expect([await isServed(agent, 0, 1), await isServed(agent, 1, 2)]).toEqual([true, true]);
  });
});

describe('SYNC at an agent', () => {
  it.each([
    ['forged: on a link that is in step', 0],
    ['replayed after a resume', 1],
  ])(
    'SYNC that is %s ends its session with protocol_error, logged once, and no other session',
    async (_, replays) => {
      const agent = await makeAgent();
      const row = { stream: 1, received: 0, limit: 1_000 };
      const sync = encodeSync({ ...empty, streams: [row] });
      const resume = async () => {
        agent.brokers[0].link.close();
        await agent.clock.advance(0);
        await agent.attach(1, 5, { resume: true });
        await agent.say(1, FrameType.sync, 5, sync);
      };
      if (replays > 0) await resume();
      const [broker, number] = replays > 0 ? ([1, 5] as const) : ([0, 1] as const);
      expect(await isServed(agent, broker, number)).toBe(true);
      await agent.say(broker, FrameType.sync, number, sync);
      const { payload } = await agent.brokers[broker].next(FrameType.detach);
      expect(decodeFailure(FrameType.detach, payload).code).toBe('protocol_error');
      expect(agent.warned()).toMatchObject([{ event: 'session broken by peer' }]);
      expect([agent.ended, agent.sessions.size]).toEqual([['protocol_error'], 1]);
      expect(await isServed(agent, 1, 2)).toBe(true);
      // Later frames of the session are dropped without an answer.
      await agent.say(broker, FrameType.sync, number, sync);
      expect(agent.warned()).toHaveLength(1);
    },
  );
});
