import { describe, expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const version = { ...protocolVersion, software: 'test' };

function makeRelay() {
  const clock = new VirtualClock(20);
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r', address: '', directory, clock, log: silentLogger });
  const connect = async (cluster = 'c1') => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster, agent: 'a', tunnel: 0, instance: 'one' });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(version));
    await peer.next(FrameType.welcome);
    return peer;
  };
  const dial = (cluster = 'c1') => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'dialer', cluster, dialer: 'somebody' });
    const session = crypto.randomUUID().replaceAll('-', '');
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, session }));
    return new PlayedLink(near);
  };
  const lose = async (agent: PlayedLink) => {
    agent.link.close();
    await agent.closed.promise;
    await clock.advance(0);
  };
  return { clock, relay, connect, dial, lose };
}

describe('A dial without a connected agent', () => {
  it('A dial to an unknown cluster is answered at once', async () => {
    const { clock, dial } = makeRelay();
    const dialer = dial();
    await clock.advance(0);
    expect(dialer.ended?.error).toMatchObject({ code: 'no_agent' });
  });

  it("A dial waits after the broker's start, and reaches the agent that connects", async () => {
    const { clock, relay, connect, dial } = makeRelay();
    relay.expectAgents();
    const dialer = dial();
    await clock.advance(2_000);
    expect(dialer.ended).toBeUndefined();
    await connect();
    await dialer.next(FrameType.welcome);
    expect(clock.now()).toBe(2_000);
  });

  it("A dial waits at most until 5 s after the broker's start", async () => {
    const { clock, relay, dial } = makeRelay();
    relay.expectAgents();
    const early = dial();
    await clock.advance(4_000);
    const late = dial();
    await clock.advance(999);
    expect([early.ended, late.ended]).toEqual([undefined, undefined]);
    await clock.advance(1);
    for (const { ended } of [early, late]) expect(ended?.error).toMatchObject({ code: 'no_agent' });
    const later = dial();
    await clock.advance(0);
    expect(later.ended?.error).toMatchObject({ code: 'no_agent' });
    expect([relay.dialerCount, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('A dial waits until 5 s after the last agent was lost, by name and by alias', async () => {
    const { clock, connect, dial, lose } = makeRelay();
    await lose(await connect());
    const byName = dial();
    const byAlias = dial(await clusterAlias('c1'));
    const unknown = dial('c2');
    await clock.advance(1_000);
    expect(unknown.ended?.error).toMatchObject({ code: 'no_agent' });
    await connect();
    await byName.next(FrameType.welcome);
    await clock.advance(relayLimits.agentReturnPollMs);
    await byAlias.next(FrameType.welcome);
    await clock.advance(60_000);
  });

  it('A dial waits after the last agent left in order, because a successor is often on its way', async () => {
    const { clock, connect, dial } = makeRelay();
    const agent = await connect();
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    agent.link.sendCopy(FrameType.goaway, 0, 0, goAway);
    await clock.advance(0);
    const dialer = dial();
    await clock.advance(1_000);
    expect(dialer.ended).toBeUndefined();
  });

  it('A dial is answered at once when 1,000 dials wait', async () => {
    const { clock, relay, dial } = makeRelay();
    relay.expectAgents();
    const dialers = Array.from({ length: relayLimits.maxWaitingSessions + 5 }, () => dial());
    await clock.advance(100);
    expect(dialers.filter(({ ended }) => ended !== undefined)).toHaveLength(5);
  });

  it('A dial leaves nothing behind when its dialer gives up', async () => {
    const { clock, relay, dial } = makeRelay();
    relay.expectAgents();
    const dialer = dial();
    await clock.advance(100);
    dialer.link.close();
    await clock.advance(0);
    expect([relay.dialerCount, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('A dial that waits is sent elsewhere when the broker drains', async () => {
    const { clock, relay, dial } = makeRelay();
    relay.expectAgents();
    const dialer = dial();
    await clock.advance(100);
    void relay.drain(new AbortController().signal, 1_000);
    await clock.advance(0);
    expect(dialer.ended?.error).toMatchObject({ code: 'draining' });
  });
});
