import { describe, expect, it } from 'vitest';
import { AgentTunnel } from '../../src/acceptor/agent-tunnel.ts';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const session = 'a'.repeat(32);
/** Of a peer with the lowest minor version, and fields of a later one. */
const skewed = { ...protocolVersion, minor: 0, software: 'other', colours: ['red', { deep: 1 }] };
const nextMajor = { ...protocolVersion, major: protocolVersion.major + 1, software: 'new' };

function makeRelay() {
  const clock = new VirtualClock(20);
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r1', address: '', directory, clock, log: silentLogger });
  const greet = (who: 'agent' | 'dialer', hello: object) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    if (who === 'agent') relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
    else relay.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody' });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    return peer;
  };
  return { relay, greet };
}

describe('version skew', () => {
  it('a HELLO with a lower or higher minor version and unknown fields works, of agents and dialers', async () => {
    const { relay, greet } = makeRelay();
    for (const minor of [0, 7]) {
      const agent = greet('agent', { ...skewed, minor });
      await agent.next(FrameType.welcome);
      const dialer = greet('dialer', { ...skewed, minor, session });
      await dialer.next(FrameType.welcome);
      await agent.next(FrameType.attach);
      expect([relay.agentCount, relay.dialerCount]).toEqual([1, 1]);
      dialer.link.close();
      await agent.next(FrameType.detach);
    }
  });

  it.each(['agent', 'dialer'] as const)(
    'an unknown major version (%s) is refused with a sentence, and nobody else hears of it',
    async (who) => {
      const { relay, greet } = makeRelay();
      const agent = greet('agent', skewed);
      await agent.next(FrameType.welcome);
      const other = greet(who, { ...nextMajor, session });
      expect(await other.closed.promise).toMatchObject({
        code: 'version_unsupported',
        message: expect.stringContaining('speaks culvert 2, this one 1'),
      });
      expect([relay.agentCount, relay.dialerCount]).toEqual([1, 0]);
      expect(agent.ended).toBeUndefined();
      await greet('dialer', { ...skewed, session }).next(FrameType.welcome);
    },
  );

  it.each([
    ['works where only fields are new', skewed, undefined],
    ['is refused where its major version is unknown', nextMajor, 'version_unsupported'],
  ])(
    'a WELCOME of a broker of another version %s, by an agent and by a dialer',
    async (_, version, code) => {
      const clock = new VirtualClock(20);
      const welcome = encodeMessage({ ...version, replica: 'r1', session: 5, agent: 'a' });
      const brokerLink = () => {
        const [near, far] = memoryLinkPair(queueMicrotask);
        return { near, broker: new PlayedLink(far) };
      };
      const toAgent = brokerLink();
      const welcomed: string[] = [];
      const tunnel = new AgentTunnel(toAgent.near, {
        software: 'test',
        sessions: new SessionStore({
          makeSession: () => {
            throw new Error('nobody attaches');
          },
          clock,
          log: silentLogger,
          resumeGraceMs: 0,
        }),
        onWelcome: (replica) => void welcomed.push(replica),
        onGoAway() {},
        onClosed() {},
      });
      toAgent.broker.link.sendCopy(FrameType.welcome, 0, 0, welcome);
      await clock.advance(0);
      expect(tunnel.link).toBe(toAgent.near);
      expect([welcomed, toAgent.broker.ended?.error?.code]).toEqual([
        code === undefined ? ['r1'] : [],
        code,
      ]);

      const toDialer = brokerLink();
      await using dialer = new PooledDialer({
        connect: async () => toDialer.near,
        clock,
        log: silentLogger,
        software: 'test',
      });
      const ends: (string | undefined)[] = [];
      const onClose = (error: { code: string } | undefined) => void ends.push(error?.code);
      dialer.open(
        { cluster: 'c1', target: sampleTarget },
        { onData() {}, onFin() {}, onWritable() {}, onClose },
      );
      await toDialer.broker.next(FrameType.hello);
      toDialer.broker.link.sendCopy(FrameType.welcome, 0, 0, welcome);
      await clock.advance(0);
      expect(ends).toEqual(code === undefined ? [] : [code]);
      expect(toDialer.broker.frames.map(({ type }) => type)).toEqual(
        code === undefined ? [FrameType.open] : [],
      );
    },
  );
});
