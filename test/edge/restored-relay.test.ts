import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { AgentSnapshot, DialerSnapshot } from '../../src/broker/snapshots.ts';
import { ObjectDirectory } from '../../src/broker/edge/object-directory.ts';
import { Relay } from '../../src/broker/relay.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { decodeFailure, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { RecordingOwner } from '../websocket/link-owners.ts';

const replica = 'r';
const hello = { ...protocolVersion, software: 'test' };
const sessionName = '0123456789abcdef'.repeat(2);

/** A relay that records its stored state and can be restored from it. */
function makeRelay(survivors: readonly AgentSnapshot[] = []) {
  const clock = new VirtualClock();
  const kept = new Map<Link, AgentSnapshot | DialerSnapshot>();
  const records = survivors.map(({ cluster, agent, tunnel, epoch }) => {
    return { cluster, agent, tunnel, epoch, replica, address: '' };
  });
  const relay = new Relay({
    replica,
    address: '',
    directory: new ObjectDirectory({ survivors: records }),
    clock,
    log: silentLogger,
    maxTunnelAgeMs: Infinity,
    onSnapshot: (link, what) => kept.set(link, what),
    sessionLimits: { maxWindow: 1024 * 1024 },
  });
  return { relay, clock, kept };
}

/** Both ends of a link; the far one is played by hand. */
function joined() {
  const [near, far] = memoryLinkPair(queueMicrotask);
  const peer = new RecordingOwner();
  far.attach(peer);
  return { near, far, peer };
}

/** An agent and a dialer in a session, and the state that a relay stored for them. */
async function established() {
  const { relay, clock, kept } = makeRelay();
  const agent = joined();
  relay.admit(agent.near, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
  agent.far.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  await agent.peer.until(() => agent.peer.frames.length === 1);
  const dialer = joined();
  relay.admit(dialer.near, { kind: 'dialer', cluster: 'c1', dialer: 'd' });
  const dialerHello = encodeMessage({ ...hello, session: sessionName });
  dialer.far.sendCopy(FrameType.hello, 0, 0, dialerHello);
  await dialer.peer.until(() => dialer.peer.frames.length === 1);
  return {
    clock,
    agent,
    dialer,
    keptAgent: () => kept.get(agent.near) as AgentSnapshot,
    keptDialer: () => kept.get(dialer.near) as DialerSnapshot,
  };
}

async function restored() {
  const { keptAgent, keptDialer } = await established();
  const { relay, kept } = makeRelay([keptAgent()]);
  const [agent, dialer] = [joined(), joined()];
  relay.restoreAgent(agent.near, keptAgent());
  relay.restoreDialer(dialer.near, keptDialer());
  const { session } = keptDialer();
  return { relay, kept, agent, dialer, session, keptAgent: keptAgent(), keptDialer: keptDialer() };
}

const bytes = new Uint8Array(8);

describe('A relay whose sockets outlive its memory', () => {
  it('A relay for hibernation leaves no timer, which would keep the object awake', async () => {
    const { clock } = await established();
    expect(clock.pendingTimers).toBe(0);
  });

  it('A relay tells both ends the largest window', async () => {
    const { agent, dialer } = await established();
    const told = [agent, dialer].map(({ peer }) => Buffer.from(peer.frames[0]!.payload));
    for (const payload of told) expect(payload.toString('latin1')).toContain('maxWindow');
  });

  it("A restored relay passes a session's frames on in both directions, under its old number", async () => {
    const { agent, dialer, session } = await restored();
    dialer.far.sendCopy(FrameType.data, session, 3, bytes);
    await agent.peer.until(() => agent.peer.dataBytes === 8);
    agent.far.sendCopy(FrameType.fin, session, 3, bytes);
    await dialer.peer.until(() => dialer.peer.frames.length === 1);
    expect(dialer.peer.frames).toMatchObject([{ type: FrameType.fin, session, stream: 3 }]);
    expect(agent.peer.frames).toMatchObject([{ type: FrameType.data, session, stream: 3 }]);
  });

  it('A restored relay sends no second WELCOME and refuses a second HELLO', async () => {
    const { agent } = await restored();
    agent.far.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await agent.peer.closed();
    expect(agent.peer.closes).toMatchObject([{ code: 'protocol_error' }]);
    expect(agent.peer.frames).toEqual([]);
  });

  it('A restored relay finds the agent for new dialers and gives them free session numbers', async () => {
    const { relay, agent, session } = await restored();
    const late = joined();
    relay.admit(late.near, { kind: 'dialer', cluster: 'c1', dialer: 'late' });
    late.far.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...hello, session: sessionName }));
    await agent.peer.until(() => agent.peer.frames.length === 1);
    expect(agent.peer.frames[0]!.type).toBe(FrameType.attach);
    expect(agent.peer.frames[0]!.session).not.toBe(session);
    expect(relay.dialerCount).toBe(2);
  });

  it('A restored relay tells each end that the other has left', async () => {
    const first = await restored();
    first.dialer.far.close();
    await first.agent.peer.until(() => first.agent.peer.frames.length === 1);
    expect(decodeFailure(FrameType.detach, first.agent.peer.frames[0]!.payload).code).toBe(
      'cancelled',
    );
    const second = await restored();
    second.agent.far.close();
    await second.dialer.peer.closed();
    expect(second.dialer.peer.closes).toMatchObject([{ code: 'agent_lost' }]);
    expect(second.relay.agentCount).toBe(0);
    expect(await second.relay.options.directory.locate('c1')).toEqual([]);
  });

  it('A restored relay closes a dialer whose tunnel is gone or was replaced', async () => {
    const { keptAgent, keptDialer } = await restored();
    for (const agents of [[], [{ ...keptAgent, epoch: keptAgent.epoch + 1 }]]) {
      const { relay } = makeRelay(agents);
      for (const agent of agents) relay.restoreAgent(joined().near, agent);
      const dialer = joined();
      relay.restoreDialer(dialer.near, keptDialer);
      await dialer.peer.closed();
      expect(dialer.peer.closes).toMatchObject([{ code: 'agent_lost' }]);
      expect(relay.dialerCount).toBe(0);
    }
  });

  it('A restored relay remembers that an agent is leaving', async () => {
    const { agent, dialer, keptAgent } = await established();
    expect(keptAgent().leaving).toBe(false);
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    agent.far.sendCopy(FrameType.goaway, 0, 0, goAway);
    await dialer.peer.until(() => dialer.peer.frames.at(-1)?.type === FrameType.goaway);
    expect(keptAgent().leaving).toBe(true);
    const { relay } = makeRelay();
    relay.restoreAgent(joined().near, keptAgent());
    await expect(
      relay.route(
        { cluster: 'c1', process: undefined, forwarded: false, except: undefined },
        new AbortController().signal,
      ),
    ).rejects.toMatchObject({ code: 'no_agent' });
  });
});
