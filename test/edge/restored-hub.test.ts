import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import type { KeptAgent } from '../../src/broker/tunnel-name.ts';
import type { KeptDialer } from '../../src/broker/dialer-port.ts';
import { ObjectDirectory } from '../../src/broker/edge/object-directory.ts';
import { Hub } from '../../src/broker/hub.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { decodeFailure, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { RecordingOwner } from '../websocket/link-owners.ts';

const replica = 'r';
const hello = { ...protocolVersion, software: 'test' };
const sessionName = '0123456789abcdef'.repeat(2);

/** A hub that writes down what it is told to keep, and takes such things back. */
function makeHub(survivors: readonly KeptAgent[] = []) {
  const clock = new VirtualClock();
  const kept = new Map<Link, KeptAgent | KeptDialer>();
  const records = survivors.map(({ cluster, agent, tunnel, epoch }) => {
    return { cluster, agent, tunnel, epoch, replica, address: '' };
  });
  const hub = new Hub({
    replica,
    address: '',
    directory: new ObjectDirectory({ survivors: records }),
    clock,
    log: silentLogger,
    maxTunnelAgeMs: Infinity,
    keep: (link, what) => kept.set(link, what),
    sessionLimits: { maxWindow: 1024 * 1024 },
  });
  return { hub, clock, kept };
}

/** Both ends of a link; the far one is played by hand. */
function joined() {
  const [near, far] = memoryLinkPair(queueMicrotask);
  const peer = new RecordingOwner();
  far.attach(peer);
  return { near, far, peer };
}

/** An agent and a dialer in a session, and what a hub was told to keep of them. */
async function established() {
  const { hub, clock, kept } = makeHub();
  const agent = joined();
  hub.admitAgent(agent.near, 'c1', 'a', 0);
  agent.far.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  await agent.peer.until(() => agent.peer.frames.length === 1);
  const dialer = joined();
  hub.admitDialer(dialer.near, 'c1', 'd');
  const dialerHello = encodeMessage({ ...hello, session: sessionName });
  dialer.far.sendCopy(FrameType.hello, 0, 0, dialerHello);
  await dialer.peer.until(() => dialer.peer.frames.length === 1);
  return {
    clock,
    agent,
    dialer,
    keptAgent: () => kept.get(agent.near) as KeptAgent,
    keptDialer: () => kept.get(dialer.near) as KeptDialer,
  };
}

async function restored() {
  const { keptAgent, keptDialer } = await established();
  const { hub, kept } = makeHub([keptAgent()]);
  const [agent, dialer] = [joined(), joined()];
  hub.restoreAgent(agent.near, keptAgent());
  hub.restoreDialer(dialer.near, keptDialer());
  const { session } = keptDialer();
  return { hub, kept, agent, dialer, session, keptAgent: keptAgent(), keptDialer: keptDialer() };
}

const bytes = new Uint8Array(8);

describe('a hub whose sockets outlive its memory', () => {
  it('leaves no timer pending, which would keep the runtime from forgetting it', async () => {
    const { clock } = await established();
    expect(clock.pendingTimers).toBe(0);
  });

  it('tells both ends the largest window', async () => {
    const { agent, dialer } = await established();
    const told = [agent, dialer].map(({ peer }) => Buffer.from(peer.frames[0]!.payload));
    for (const payload of told) expect(payload.toString('latin1')).toContain('maxWindow');
  });

  it('passes frames of a session on in both directions, under its old number', async () => {
    const { agent, dialer, session } = await restored();
    dialer.far.sendCopy(FrameType.data, session, 3, bytes);
    await agent.peer.until(() => agent.peer.dataBytes === 8);
    agent.far.sendCopy(FrameType.fin, session, 3, bytes);
    await dialer.peer.until(() => dialer.peer.frames.length === 1);
    expect(dialer.peer.frames).toMatchObject([{ type: FrameType.fin, session, stream: 3 }]);
    expect(agent.peer.frames).toMatchObject([{ type: FrameType.data, session, stream: 3 }]);
  });

  it('greets nobody twice, and takes no second HELLO', async () => {
    const { agent } = await restored();
    agent.far.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await agent.peer.closed();
    expect(agent.peer.closes).toMatchObject([{ code: 'protocol_error' }]);
    expect(agent.peer.frames).toEqual([]);
  });

  it('finds the agent for new dialers, and gives them numbers that are free', async () => {
    const { hub, agent, session } = await restored();
    const late = joined();
    hub.admitDialer(late.near, 'c1', 'late');
    late.far.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...hello, session: sessionName }));
    await agent.peer.until(() => agent.peer.frames.length === 1);
    expect(agent.peer.frames[0]!.type).toBe(FrameType.attach);
    expect(agent.peer.frames[0]!.session).not.toBe(session);
    expect(hub.dialerCount).toBe(2);
  });

  it('tells the agent of a dialer that leaves, and a dialer of an agent that leaves', async () => {
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
    expect(second.hub.agentCount).toBe(0);
    expect(await second.hub.options.directory.locate('c1')).toEqual([]);
  });

  it('closes a dialer whose tunnel is gone, or has been replaced', async () => {
    const { keptAgent, keptDialer } = await restored();
    for (const agents of [[], [{ ...keptAgent, epoch: keptAgent.epoch + 1 }]]) {
      const { hub } = makeHub(agents);
      for (const agent of agents) hub.restoreAgent(joined().near, agent);
      const dialer = joined();
      hub.restoreDialer(dialer.near, keptDialer);
      await dialer.peer.closed();
      expect(dialer.peer.closes).toMatchObject([{ code: 'agent_lost' }]);
      expect(hub.dialerCount).toBe(0);
    }
  });

  it('keeps that an agent drains', async () => {
    const { agent, dialer, keptAgent } = await established();
    expect(keptAgent().leaving).toBe(false);
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    agent.far.sendCopy(FrameType.goaway, 0, 0, goAway);
    await dialer.peer.until(() => dialer.peer.frames.at(-1)?.type === FrameType.goaway);
    expect(keptAgent().leaving).toBe(true);
    const { hub } = makeHub();
    hub.restoreAgent(joined().near, keptAgent());
    await expect(
      hub.place(
        { cluster: 'c1', process: undefined, forwarded: false, except: undefined },
        new AbortController().signal,
      ),
    ).rejects.toMatchObject({ code: 'no_agent' });
  });
});
