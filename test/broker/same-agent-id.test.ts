import { describe, expect, it } from 'vitest';
import { Relay } from '../../src/broker/relay.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { decodeWelcome, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { SimulatedDirectory } from '../../testkit/world/simulated-directory.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const version = { ...protocolVersion, software: 'test' };
const warning = 'two processes have the same agent id';

/** Brokers that share a directory. */
function makeBrokers(count = 1) {
  const clock = new VirtualClock(20);
  const directory = new SimulatedDirectory();
  const log = new RecordingLogger();
  const relays = Array.from(
    { length: count },
    (_, at) =>
      new Relay({ replica: `r${at}`, address: '', directory: directory.view(), clock, log }),
  );
  const connect = async (
    instance: string | undefined,
    { relay = relays[0]!, agent = 'a' } = {},
  ) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent, tunnel: 0, instance });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(version));
    await peer.next(FrameType.welcome);
    return peer;
  };
  let sessions = 0;
  const dial = (resume: { resume?: string; instance?: string } = {}) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relays[0]!.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody' });
    const peer = new PlayedLink(near);
    const session = (++sessions).toString(16).padStart(32, '0');
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, session, ...resume }));
    return peer;
  };
  /** Answers what it is asked. */
  const answer = async (peer: PlayedLink) => {
    const { payload } = await peer.next(FrameType.ping);
    peer.link.sendCopy(FrameType.pong, 0, 0, payload);
  };
  const warnings = () => log.lines.filter(({ event }) => event === warning).length;
  return { clock, directory, relays, relay: relays[0]!, connect, dial, answer, warnings };
}

/** The number of the session that this peer was welcomed or attached with. */
async function welcomeOf(dialer: PlayedLink) {
  return decodeWelcome((await dialer.next(FrameType.welcome)).payload);
}

describe('Two processes with the same agent id', () => {
  it('Two processes with the same agent id work side by side when the first answers, with one warning', async () => {
    const { clock, relay, connect, dial, answer, warnings } = makeBrokers();
    const first = await connect('one');
    const second = await connect('two');
    await answer(first);
    await clock.advance(60_000);
    expect([first.ended, second.ended, relay.agentCount]).toEqual([undefined, undefined, 2]);
    const instances = [await welcomeOf(dial()), await welcomeOf(dial())].map((w) => w.instance);
    expect(new Set(instances)).toEqual(new Set(['one', 'two']));
    expect(warnings()).toBe(1);
    await answer(await connect('three').then(() => first));
    await answer(second);
    await clock.advance(60_000);
    expect([relay.agentCount, warnings()]).toEqual([3, 1]);
  });

  it('A process that does not answer within 3 s loses its tunnel, and new sessions go to the other process meanwhile', async () => {
    const { clock, relay, connect, dial, warnings } = makeBrokers();
    const first = await connect('one');
    const old = dial();
    await welcomeOf(old);
    await connect('two');
    for (let i = 0; i < 3; i++) expect((await welcomeOf(dial())).instance).toBe('two');
    expect(old.ended).toBeUndefined();
    await clock.advance(relayLimits.livenessTimeoutMs + 1);
    expect(await first.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect(await old.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect([relay.agentCount, warnings()]).toEqual([1, 0]);
  });

  it('The older of two processes at different replicas is checked there', async () => {
    const { clock, relays, connect } = makeBrokers(2);
    const first = await connect('one', { relay: relays[0]! });
    await connect('two', { relay: relays[1]! });
    await first.next(FrameType.ping);
    await clock.advance(relayLimits.livenessTimeoutMs + 1);
    expect(await first.closed.promise).toMatchObject({ code: 'agent_lost' });
  });

  it('Two processes with the same agent id get back their own sessions', async () => {
    const { connect, dial, answer } = makeBrokers();
    const agents = { one: await connect('one'), two: await connect('two') };
    await answer(agents.one);
    for (const instance of ['one', 'two'] as const) {
      expect(await welcomeOf(dial({ resume: 'a', instance }))).toMatchObject({ instance });
      await agents[instance].next(FrameType.attach);
    }
  });

  it('Two processes with the same agent id may each have a second tunnel, but at another replica', async () => {
    const { relay, connect } = makeBrokers();
    await connect('one');
    expect(relay.holdsAnother({ cluster: 'c1', agent: 'a', tunnel: 1, instance: 'one' })).toBe(
      true,
    );
    expect(relay.holdsAnother({ cluster: 'c1', agent: 'a', tunnel: 1, instance: 'two' })).toBe(
      false,
    );
    expect(relay.holdsAnother({ cluster: 'c1', agent: 'a', tunnel: 1 })).toBe(false);
  });

  it('A process that leaves in order is not checked', async () => {
    const { connect } = makeBrokers();
    const first = await connect('one');
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    first.link.sendCopy(FrameType.goaway, 0, 0, goAway);
    await connect('two');
    expect(first.frames).toEqual([]);
  });
});

describe('One process of an agent', () => {
  it('A process that connects again replaces its own tunnel at once', async () => {
    const { relay, connect } = makeBrokers();
    const first = await connect('one');
    await connect('one');
    expect(await first.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect(relay.agentCount).toBe(1);
  });

  it('A process of culvert 0.1 replaces a tunnel with its agent id', async () => {
    const { relay, connect, dial } = makeBrokers();
    const first = await connect(undefined);
    await connect(undefined);
    expect(await first.closed.promise).toMatchObject({ code: 'agent_lost' });
    expect(relay.agentCount).toBe(1);
    expect(await welcomeOf(dial())).not.toHaveProperty('instance');
    expect(await welcomeOf(dial({ resume: 'a' }))).toMatchObject({ agent: 'a' });
  });

  it('A process is found by a dialer of culvert 0.1, which names no instance', async () => {
    const { connect, dial } = makeBrokers();
    await connect('one');
    expect(await welcomeOf(dial({ resume: 'a' }))).toMatchObject({ agent: 'a', instance: 'one' });
  });
});

describe('A session whose agent is gone', () => {
  const answerTo = async (dialer: PlayedLink) => (await dialer.closed.promise)?.code;

  it('A session gets agent_lost when another agent was connected for longer than dialers wait', async () => {
    const { clock, connect, dial } = makeBrokers();
    await connect('two', { agent: 'b' });
    await clock.advance(relayLimits.otherAgentAgeMs + 1);
    expect(await answerTo(dial({ resume: 'a', instance: 'one' }))).toBe('agent_lost');
  });

  it('A session gets no_agent when all agents were cut off and another agent returned first', async () => {
    const { connect, dial } = makeBrokers();
    await connect('two', { agent: 'b' });
    expect(await answerTo(dial({ resume: 'a', instance: 'one' }))).toBe('no_agent');
  });

  it("A session gets agent_lost when another process has its agent's id", async () => {
    const { connect, dial } = makeBrokers();
    await connect('two');
    expect(await answerTo(dial({ resume: 'a', instance: 'one' }))).toBe('agent_lost');
  });

  it('A session gets no_agent when no other agent is connected', async () => {
    const { dial } = makeBrokers();
    expect(await answerTo(dial({ resume: 'a', instance: 'one' }))).toBe('no_agent');
  });

  it('A session gets no_agent when the only other agent is leaving', async () => {
    const { clock, connect, dial } = makeBrokers();
    const other = await connect('two', { agent: 'b' });
    await clock.advance(relayLimits.otherAgentAgeMs + 1);
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    other.link.sendCopy(FrameType.goaway, 0, 0, goAway);
    expect(await answerTo(dial({ resume: 'a', instance: 'one' }))).toBe('no_agent');
  });
});
