import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { RelayOptions } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair, type MemoryLink } from '../../src/tunnel/memory-link.ts';
import {
  decodeGoAway,
  decodeWelcome,
  encodeMessage,
  protocolVersion,
} from '../../src/tunnel/message.ts';
import type { StreamHandler } from '../../src/tunnel/stream-handler.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';

const hello = encodeMessage({ ...protocolVersion, software: 'test' });

function makeRelay(more: Partial<RelayOptions> = {}): Relay {
  const directory = new MemoryDirectory();
  return new Relay({
    ...more,
    replica: 'r1',
    address: '',
    directory,
    clock: systemClock,
    log: silentLogger,
  });
}

async function connectAgent(relay: Relay, cluster = 'c1', agent = 'a'): Promise<PlayedLink> {
  const [near, far] = memoryLinkPair(queueMicrotask);
  relay.admit(far, { kind: 'agent', cluster, agent, tunnel: 0 });
  const peer = new PlayedLink(near);
  near.sendCopy(FrameType.hello, 0, 0, hello);
  await peer.next(FrameType.welcome);
  return peer;
}

let sessions = 0;

function connectDialer(relay: Relay, cluster = 'c1', forwarded = false): PlayedLink {
  const [near, far] = memoryLinkPair(queueMicrotask);
  relay.admit(far, { kind: 'dialer', cluster, dialer: 'somebody', forwarded });
  const peer = new PlayedLink(near);
  const session = (++sessions).toString(16).padStart(32, '0');
  const dialerHello = { ...protocolVersion, software: 'test', session };
  near.sendCopy(FrameType.hello, 0, 0, encodeMessage(dialerHello));
  return peer;
}

async function welcomed(peer: PlayedLink): Promise<number> {
  return decodeWelcome((await peer.next(FrameType.welcome)).payload).session;
}

const payload = new TextEncoder().encode('some bytes');

describe('Relay', () => {
  it('The relay announces a dialer to the agent and passes frames on in both directions', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = connectDialer(relay);
    const session = await welcomed(dialer);
    expect((await agent.next(FrameType.attach)).session).toBe(session);

    dialer.link.sendCopy(FrameType.open, session, 7, payload);
    expect(await agent.next(FrameType.open)).toEqual({
      type: FrameType.open,
      session,
      stream: 7,
      payload,
    });
    agent.link.sendCopy(FrameType.data, session, 7, payload);
    expect(await dialer.next(FrameType.data)).toEqual({
      type: FrameType.data,
      session,
      stream: 7,
      payload,
    });
    expect(relay.relayedBytes).toBe(2 * payload.length);
  });

  it('The relay answers no_agent for a cluster without an agent', async () => {
    const relay = makeRelay();
    await connectAgent(relay, 'another');
    const dialer = connectDialer(relay);
    expect(await dialer.closed.promise).toMatchObject({ code: 'no_agent' });
    expect(relay.dialerCount).toBe(0);
  });

  it("The relay closes a link that uses another dialer's session number, and passes nothing on", async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const [victim, thief] = [connectDialer(relay), connectDialer(relay)];
    const stolen = await welcomed(victim);
    const own = await welcomed(thief);
    thief.link.sendCopy(FrameType.data, stolen, 1, payload);
    expect(await thief.closed.promise).toMatchObject({ code: 'unknown_session' });
    expect(await agent.next(FrameType.detach)).toMatchObject({ session: own });
    expect(agent.frames.some(({ type }) => type === FrameType.data)).toBe(false);
    victim.link.sendCopy(FrameType.open, stolen, 1, payload);
    expect(await agent.next(FrameType.open)).toMatchObject({ session: stolen });
  });

  it("The relay drops and counts an agent's frames for unknown sessions", async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    agent.link.sendCopy(FrameType.data, 12_345, 1, payload);
    const dialer = connectDialer(relay);
    await welcomed(dialer);
    expect(relay.droppedFrames).toBe(1);
    expect(dialer.frames).toEqual([]);
  });

  it.each([FrameType.attach, FrameType.detach, FrameType.goaway, FrameType.welcome])(
    'The relay closes the link of a dialer that sends link frame %i inside its session',
    async (type) => {
      const relay = makeRelay();
      const agent = await connectAgent(relay);
      const dialer = connectDialer(relay);
      const session = await welcomed(dialer);
      dialer.link.sendCopy(type, session, 0, payload);
      expect(await dialer.closed.promise).toMatchObject({ code: 'protocol_error' });
      expect(await agent.next(FrameType.detach)).toMatchObject({ session });
    },
  );

  it('The relay ends the sessions of a lost agent with agent_lost and forgets the cluster', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = connectDialer(relay);
    await welcomed(dialer);
    agent.link.close();
    expect(await dialer.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect(relay.agentCount).toBe(0);
    expect(await connectDialer(relay).closed.promise).toMatchObject({ code: 'no_agent' });
  });

  it('The relay keeps the newer of two tunnels of one agent, however the older one ends', async () => {
    const relay = makeRelay();
    const old = await connectAgent(relay);
    const young = await connectAgent(relay);
    expect(await old.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect(relay.agentCount).toBe(1);
    const session = await welcomed(connectDialer(relay));
    expect((await young.next(FrameType.attach)).session).toBe(session);
  });

  it('The relay gives a new session to the agent with the fewest sessions', async () => {
    const relay = makeRelay();
    const first = await connectAgent(relay, 'c1', 'a');
    const second = await connectAgent(relay, 'c1', 'b');
    for (let i = 0; i < 4; i++) await welcomed(connectDialer(relay));
    for (const agent of [first, second]) {
      await agent.next(FrameType.attach);
      await agent.next(FrameType.attach);
    }
    expect(Array.from(relay.agents(), (agent) => agent.sessions.size)).toEqual([2, 2]);
  });

  it('The relay gives no session to an agent that was silent for longer than two pings', async () => {
    const relay = makeRelay();
    await connectAgent(relay, 'c1', 'silent');
    const [silent] = relay.agents();
    Object.defineProperty(silent!.link, 'silentMs', { value: 46_000, configurable: true });
    expect(await connectDialer(relay).closed.promise).toMatchObject({ code: 'no_agent' });
    Object.defineProperty(silent!.link, 'silentMs', { value: 44_000 });
    await welcomed(connectDialer(relay));
  });

  it("The relay passes an agent's GOAWAY to its dialers and gives it no new sessions", async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = connectDialer(relay);
    await welcomed(dialer);
    agent.link.sendCopy(
      FrameType.goaway,
      0,
      0,
      encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' }),
    );
    await dialer.next(FrameType.goaway);
    expect(await connectDialer(relay).closed.promise).toMatchObject({ code: 'no_agent' });
  });

  it('The relay refuses an unknown major version with a sentence', async () => {
    const relay = makeRelay();
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ major: 2, minor: 0, software: 'new' }));
    expect(await peer.closed.promise).toMatchObject({ code: 'version_unsupported' });
    expect(relay.agentCount).toBe(0);
  });

  it('A drain refuses new clients, sends GOAWAY, and closes when the dialers have left', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = connectDialer(relay);
    await welcomed(dialer);
    const drained = relay.drain(new AbortController().signal, 1000);
    await dialer.next(FrameType.goaway);
    await agent.next(FrameType.goaway);
    expect(await connectDialer(relay).closed.promise).toMatchObject({ code: 'draining' });
    dialer.link.close();
    await drained;
    expect(await agent.closed.promise).toMatchObject({ code: 'draining' });
  });

  it('A drain closes the remaining links when its time is up', async () => {
    const relay = makeRelay();
    await connectAgent(relay);
    const dialer = connectDialer(relay);
    await welcomed(dialer);
    const limit = new AbortController();
    const drained = relay.drain(limit.signal, 1000);
    limit.abort();
    await drained;
    expect(await dialer.closed.promise).toMatchObject({ code: 'draining' });
  });
});

describe('A relay with other replicas', () => {
  const elsewhere = (replica: string) => ({
    cluster: 'c1',
    agent: `at-${replica}`,
    tunnel: 0,
    replica,
    address: `ws://${replica}`,
  });

  /** A relay that shares its directory with r2 and r3, and forwards as `reach` says. */
  async function relayBeside(reach: (replica: string) => Promise<MemoryLink>): Promise<Relay> {
    const relay = makeRelay({ forward: ({ replica }) => reach(replica) });
    await relay.options.directory.claim(elsewhere('r2'));
    await relay.options.directory.claim(elsewhere('r3'));
    return relay;
  }

  it('The relay asks one more replica when the first cannot be reached', async () => {
    const asked: string[] = [];
    const other = makeRelay();
    await connectAgent(other);
    const relay = await relayBeside(async (replica) => {
      asked.push(replica);
      if (asked.length === 1) throw new TunnelError('link_lost', 'gone');
      const [near, far] = memoryLinkPair(queueMicrotask);
      other.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody', forwarded: true });
      return near;
    });
    await welcomed(connectDialer(relay));
    expect(asked).toEqual(['r3', 'r2']);
  });

  it('The relay asks one more replica when the first does not have the agent any more', async () => {
    const asked: string[] = [];
    const relay = await relayBeside(async (replica) => {
      asked.push(replica);
      const [near, far] = memoryLinkPair(queueMicrotask);
      makeRelay().admit(far, {
        kind: 'dialer',
        cluster: 'c1',
        dialer: 'somebody',
        forwarded: true,
      });
      return near;
    });
    expect(await connectDialer(relay).closed.promise).toMatchObject({ code: 'no_agent' });
    expect(asked).toEqual(['r3', 'r2']);
  });

  const nobodyAsks = (): Promise<never> => Promise.reject(new Error('nobody asks'));

  it('A drain with other replicas waits until the agents have left', async () => {
    const relay = await relayBeside(nobodyAsks);
    const agent = await connectAgent(relay, 'c2');
    let drained = false;
    const draining = relay.drain(new AbortController().signal, 1000).then(() => (drained = true));
    await agent.next(FrameType.goaway);
    expect(drained).toBe(false);
    agent.link.close();
    await draining;
  });

  it('A drain closes a dialer whose session is just being forwarded, so that it dials elsewhere', async () => {
    const asked = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<MemoryLink>();
    const relay = await relayBeside(() => {
      asked.resolve();
      return reached.promise;
    });
    const dialer = connectDialer(relay);
    await asked.promise;
    const drained = relay.drain(new AbortController().signal, 1000);
    const [near, far] = memoryLinkPair(queueMicrotask);
    const owner = new PlayedLink(far);
    reached.resolve(near);
    expect(await dialer.closed.promise).toMatchObject({ code: 'draining' });
    await owner.closed.promise;
    await drained;
  });

  it('A drain with other replicas ends when the agents have a tunnel elsewhere', async () => {
    const relay = await relayBeside(nobodyAsks);
    const agent = await connectAgent(relay, 'c2', 'a');
    const { directory } = relay.options;
    const other = { ...elsewhere('r2'), cluster: 'c2', agent: 'a', tunnel: 1 };
    const retiring = await directory.claim(other);
    await directory.retire(retiring);
    let drained = false;
    const draining = relay.drain(new AbortController().signal, 1000).then(() => (drained = true));
    await agent.next(FrameType.goaway);
    expect(drained).toBe(false);
    await directory.claim(other);
    await draining;
    expect(await agent.closed.promise).toMatchObject({ code: 'draining' });
  });

  it("The relay prefers another replica's tunnel to its own retiring one, and sends GOAWAY at once where there is no other", async () => {
    const asked: string[] = [];
    const relay = makeRelay({
      forward: ({ replica }) => {
        asked.push(replica);
        return Promise.reject(new TunnelError('link_lost', 'gone'));
      },
    });
    await connectAgent(relay, 'c1', 'a');
    const [agent] = relay.agents();
    agent!.retire(7_000);
    const alone = connectDialer(relay);
    await welcomed(alone);
    expect(decodeGoAway((await alone.next(FrameType.goaway)).payload)).toMatchObject({
      deadlineMs: 7_000,
      scope: 'broker',
    });
    await relay.options.directory.claim(elsewhere('r2'));
    await welcomed(connectDialer(relay));
    expect(asked).toEqual(['r2']);
  });

  it('The relay gives no moving session to a retiring tunnel', async () => {
    const relay = await relayBeside(nobodyAsks);
    await connectAgent(relay, 'c2', 'a');
    const [agent] = relay.agents();
    agent!.retire(7_000);
    const request = {
      cluster: 'c2',
      process: { agent: 'a' },
      forwarded: false,
      except: undefined,
    };
    const { signal } = new AbortController();
    await expect(relay.route(request, signal)).rejects.toMatchObject({ code: 'no_agent' });
    await connectAgent(relay, 'c2', 'a');
    expect(await relay.route(request, signal)).toMatchObject({
      kind: 'local',
      agent: { retiring: false },
    });
  });

  it('A draining relay takes a forwarded session, because it may hold the last tunnel', async () => {
    const relay = await relayBeside(nobodyAsks);
    const agent = await connectAgent(relay, 'c2', 'a');
    const draining = relay.drain(new AbortController().signal, 1000);
    const dialer = connectDialer(relay, 'c2', true);
    expect(await welcomed(dialer)).not.toBe(0);
    await dialer.next(FrameType.goaway);
    dialer.link.close();
    agent.link.close();
    await draining;
  });
});

describe('PooledDialer on a relay', () => {
  const target = { kind: 'tcp', host: 'c1', port: 80 } as const;

  function opened(dialer: PooledDialer): Promise<TunnelError | undefined> {
    const { promise, resolve } = Promise.withResolvers<TunnelError | undefined>();
    const handler: StreamHandler = { onData() {}, onFin() {}, onWritable() {}, onClose: resolve };
    dialer.open({ cluster: 'c1', target }, handler);
    return promise;
  }

  function dialerOf(relay: Relay): PooledDialer & { links: number } {
    const dialer = new PooledDialer({
      connect: async (cluster) => {
        const [near, far] = memoryLinkPair(queueMicrotask);
        relay.admit(far, { kind: 'dialer', cluster, dialer: 'pool' });
        counted.links++;
        return near;
      },
      clock: systemClock,
      log: silentLogger,
      software: 'test',
    });
    const counted = Object.assign(dialer, { links: 0 });
    return counted;
  }

  it('The pooled dialer shares one session between the streams to a cluster', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = dialerOf(relay);
    void opened(dialer);
    void opened(dialer);
    expect((await agent.next(FrameType.open)).stream).toBe(1);
    expect((await agent.next(FrameType.open)).stream).toBe(2);
    expect(dialer.links).toBe(1);
  });

  it('The pooled dialer ends every waiting stream with no_agent, and tries again for the next stream', async () => {
    const relay = makeRelay();
    const dialer = dialerOf(relay);
    const both = await Promise.all([opened(dialer), opened(dialer)]);
    expect(both.map((error) => error?.code)).toEqual(['no_agent', 'no_agent']);
    const agent = await connectAgent(relay);
    void opened(dialer);
    await agent.next(FrameType.open);
    expect(dialer.links).toBe(2);
  });

  it('The pooled dialer ends open streams with agent_lost when the agent goes', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = dialerOf(relay);
    const end = opened(dialer);
    const { session, stream } = await agent.next(FrameType.open);
    agent.link.sendCopy(FrameType.opened, session, stream, encodeMessage({ window: 1_000 }));
    const why = encodeMessage({ code: 'draining', message: 'bye' });
    agent.link.sendCopy(FrameType.detach, session, 0, why);
    expect(await end).toMatchObject({ code: 'agent_lost' });
    expect(dialer.sessionCount).toBe(0);
  });

  it('The pooled dialer opens no new streams on a retiring session, and closes it when the last stream ends', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = dialerOf(relay);
    const end = opened(dialer);
    const { session, stream } = await agent.next(FrameType.open);
    agent.link.sendCopy(
      FrameType.goaway,
      0,
      0,
      encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' }),
    );
    const other = await connectAgent(relay, 'c1', 'b');
    void opened(dialer);
    await other.next(FrameType.open);
    const refused = encodeMessage({ code: 'refused', message: 'no' });
    agent.link.sendCopy(FrameType.refused, session, stream, refused);
    expect(await end).toMatchObject({ code: 'refused' });
    await agent.next(FrameType.detach);
    expect(dialer.sessionCount).toBe(1);
  });

  it('The pooled dialer refuses new streams while it drains, and ends with the open streams', async () => {
    const relay = makeRelay();
    const agent = await connectAgent(relay);
    const dialer = dialerOf(relay);
    const end = opened(dialer);
    const { session, stream } = await agent.next(FrameType.open);
    const drained = dialer.drain(new AbortController().signal);
    expect(await opened(dialer)).toMatchObject({ code: 'draining' });
    const refused = encodeMessage({ code: 'refused', message: 'no' });
    agent.link.sendCopy(FrameType.refused, session, stream, refused);
    expect(await end).toMatchObject({ code: 'refused' });
    await drained;
    expect(dialer.sessionCount).toBe(0);
  });
});
