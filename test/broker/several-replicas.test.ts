import { describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { SimulatedDirectory } from '../../testkit/world/simulated-directory.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const own = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };
const version = { ...protocolVersion, software: 'test' };
const elsewhere = { ...own, tunnel: 1, replica: 'r2', address: 'ws://r2' };

/** A replica with one agent; the others are entries in its directory. */
async function makeReplica() {
  const clock = new VirtualClock(20);
  const directory = new SimulatedDirectory().view();
  const asked: string[] = [];
  const relay = new Relay({
    replica: 'r1',
    address: 'ws://r1',
    directory,
    forward: ({ replica }) => {
      asked.push(replica);
      return Promise.reject(new TunnelError('link_lost', 'gone'));
    },
    clock,
    log: silentLogger,
  });
  const connect = async (name: string) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent: name, tunnel: 0 });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(version));
    await peer.next(FrameType.welcome);
    return peer;
  };
  const dial = () => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody' });
    const session = crypto.randomUUID().replaceAll('-', '');
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, session }));
    return new PlayedLink(near);
  };
  const agent = await connect('a');
  const drain = () => {
    const state = { drained: false };
    const limit = new AbortController();
    void relay.drain(limit.signal, 10_000).then(() => (state.drained = true));
    return { state, limit };
  };
  return { clock, directory, asked, relay, agent, connect, dial, drain };
}

describe('A replica that drains', () => {
  it('A draining replica waits until its agent has a tunnel at a replica that stays', async () => {
    const { clock, directory, agent, drain } = await makeReplica();
    const { state } = drain();
    await clock.advance(500);
    expect(state.drained).toBe(false);
    // One of another agent, one here, and one that is given up as well.
    await directory.claim({ ...elsewhere, agent: 'b' });
    await directory.claim({ ...own, tunnel: 1 });
    await clock.advance(500);
    expect(state.drained).toBe(false);
    const leaving = await directory.claim(elsewhere);
    await directory.retire(leaving);
    await clock.advance(500);
    expect(state.drained).toBe(false);
    expect(agent.ended).toBeUndefined();
    await directory.claim(elsewhere);
    await clock.advance(500);
    expect(state.drained).toBe(true);
    expect(agent.ended?.error).toMatchObject({ code: 'draining' });
  });

  it('A draining replica waits until its agent has left', async () => {
    const { clock, agent, drain } = await makeReplica();
    const { state } = drain();
    await clock.advance(500);
    expect(state.drained).toBe(false);
    agent.link.close();
    await clock.advance(500);
    expect(state.drained).toBe(true);
  });

  it('A draining replica waits only a few seconds for an agent that does not move', async () => {
    const { clock, drain } = await makeReplica();
    const { state } = drain();
    await clock.advance(relayLimits.agentsLeaveMs - 1_000);
    expect(state.drained).toBe(false);
    await clock.advance(2_000);
    expect(state.drained).toBe(true);
  });

  it('A draining replica stops waiting when its time is up', async () => {
    const { clock, drain } = await makeReplica();
    const { state, limit } = drain();
    await clock.advance(100);
    limit.abort();
    await clock.advance(0);
    expect(state.drained).toBe(true);
  });
});

describe('A session that may go to another replica', () => {
  const request = { cluster: 'c1', forwarded: false, except: undefined };
  const { signal } = new AbortController();

  it("A session goes to another replica's retiring tunnel only if it is new and there is no tunnel here", async () => {
    const { directory, relay, agent } = await makeReplica();
    await directory.retire(await directory.claim(elsewhere));
    const [tunnel] = relay.agents();
    tunnel!.retire(7_000);
    // Both are given up: the one here saves a hop.
    expect(await relay.route(request, signal)).toEqual({ kind: 'local', agent: tunnel });
    agent.link.close();
    await agent.closed.promise;
    expect(await relay.route(request, signal)).toMatchObject({
      kind: 'remote',
      owner: { replica: 'r2' },
    });
    await expect(
      relay.route({ ...request, process: { agent: 'a' } }, signal),
    ).rejects.toMatchObject({
      code: 'no_agent',
    });
    await directory.claim(elsewhere);
    expect(await relay.route({ ...request, process: { agent: 'a' } }, signal)).toMatchObject({
      owner: { tunnel: 1 },
    });
    await expect(
      relay.route({ ...request, process: { agent: 'b' } }, signal),
    ).rejects.toMatchObject({
      code: 'agent_lost',
    });
  });

  it('A session that another replica forwards reaches an agent of a draining replica that has no other tunnel', async () => {
    const { clock, relay, drain } = await makeReplica();
    const [tunnel] = relay.agents();
    drain();
    await clock.advance(0);
    const forwarded = { ...request, forwarded: true };
    expect(await relay.route(forwarded, signal)).toEqual({ kind: 'local', agent: tunnel });
    await expect(relay.route(request, signal)).rejects.toMatchObject({ code: 'draining' });
  });

  it('A session goes to the replica with an agent in its zone, and not to an excluded agent', async () => {
    const { directory, relay, agent } = await makeReplica();
    agent.link.close();
    await agent.closed.promise;
    await directory.claim({ ...elsewhere, agent: 'near', zone: 'z1' });
    await directory.claim({ ...elsewhere, agent: 'far', zone: 'z2', replica: 'r3' });
    const ownerOf = async (more: object) => {
      const route = await relay.route({ ...request, ...more }, signal);
      return route.kind === 'remote' ? route.owner.agent : route.kind;
    };
    expect(await ownerOf({ zone: 'z1' })).toBe('near');
    expect(await ownerOf({ zone: 'z2' })).toBe('far');
    expect(await ownerOf({ zone: 'z2', excluded: ['far'] })).toBe('near');
  });

  it('A session prefers a tunnel that stays to a retiring one with fewer sessions', async () => {
    const { relay, connect, dial } = await makeReplica();
    await dial().next(FrameType.welcome);
    await connect('b');
    const [stays, leaves] = relay.agents();
    leaves!.retire(7_000);
    expect([stays!.sessions.size, leaves!.sessions.size]).toEqual([1, 0]);
    expect(await relay.route(request, signal)).toEqual({ kind: 'local', agent: stays });
  });

  it('A session invalidates the directory entry of a replica that failed to take it', async () => {
    const { clock, directory, relay, agent, asked, dial } = await makeReplica();
    agent.link.close();
    await agent.closed.promise;
    const entry = await directory.claim(elsewhere);
    const doubted = vi.spyOn(directory, 'invalidate');
    const dialer = dial();
    // It waits for the agent to return, and asks the same replica for the same tunnel only once.
    await clock.advance(relayLimits.agentReturnMs + relayLimits.agentReturnPollMs);
    expect(await dialer.closed.promise).toMatchObject({ code: 'no_agent' });
    expect([asked, doubted.mock.calls]).toEqual([['r2'], [[entry]]]);
    expect(relay.dialerCount).toBe(0);
  });
});
