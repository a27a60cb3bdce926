import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { agentLoss } from '../../src/broker/agent-loss.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { decodeWelcome, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const version = { ...protocolVersion, software: 'test' };
/** The address of an agent's link, as the broker sees it. */
const seen = '10.4.0.7:41234';

function makeRelay() {
  const clock = new VirtualClock(20);
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r', address: '', directory, clock, log: silentLogger });
  const connect = async (agent: string, hello: object = {}) => {
    const [near, far] = memoryLinkPair(queueMicrotask, { peers: ['broker', seen] });
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent, tunnel: 0, instance: 'one' });
    const peer = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, ...hello }));
    await peer.next(FrameType.welcome);
    return peer;
  };
  const dial = (hello: object = {}) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody' });
    const session = crypto.randomUUID().replaceAll('-', '');
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, session, ...hello }));
    return new PlayedLink(near);
  };
  const reach = async (hello: object = {}) =>
    decodeWelcome((await dial(hello).next(FrameType.welcome)).payload);
  return { clock, relay, connect, dial, reach };
}

describe('A broker with several agents of a cluster', () => {
  it('A broker with several agents prefers those in the zone of the dialer, then those with few sessions', async () => {
    const { connect, reach } = makeRelay();
    await connect('far', { zone: 'z2' });
    await connect('near', { zone: 'z1' });
    await connect('near-too', { zone: 'z1' });
    const reached = [];
    for (let at = 0; at < 4; at++) reached.push(await reach({ zone: 'z1' }));
    expect(reached.map(({ agent }) => agent).toSorted()).toEqual([
      ...['near', 'near', 'near-too', 'near-too'],
    ]);
    expect(reached[0]).toMatchObject({ zone: 'z1', otherAgents: 2 });
    expect(await reach({ zone: 'z9' })).toMatchObject({ agent: 'far', zone: 'z2' });
  });

  it('A broker with several agents leads a session to none that the dialer excludes', async () => {
    const { connect, reach } = makeRelay();
    await connect('a');
    expect(await reach()).toMatchObject({ agent: 'a', otherAgents: 0 });
    await connect('b');
    expect(await reach({ excludedAgents: ['a@one'] })).toMatchObject({ agent: 'b' });
    expect(await reach({ excludedAgents: ['b@one', 'a@another'] })).toMatchObject({ agent: 'a' });
  });

  it('A broker answers no_agent at once if all agents are excluded, even after its start', async () => {
    const { clock, relay, connect, dial } = makeRelay();
    relay.expectAgents();
    await connect('a');
    const dialer = dial({ excludedAgents: ['a@one'] });
    await clock.advance(0);
    expect(dialer.ended?.error).toMatchObject({ code: 'no_agent' });
  });

  it('A broker ends only the link of a dialer whose exclusions are malformed', async () => {
    const { clock, connect, dial, reach } = makeRelay();
    await connect('a');
    const names = Array.from({ length: 65 }, (_, at) => `a${at}`);
    for (const excludedAgents of ['a', [1], [''], names, [['a']]]) {
      const dialer = dial({ excludedAgents });
      await clock.advance(0);
      expect(dialer.ended?.error).toMatchObject({ code: 'protocol_error' });
    }
    expect(await reach()).toMatchObject({ agent: 'a' });
  });
});

describe('The end of an agent', () => {
  const lost = new TunnelError('link_lost', 'closed without a close frame');

  it.each([
    [
      'its process is dead, and another agent takes the clients',
      lost,
      seen,
      true,
      'unknown_session',
    ],
    ['it is the only agent', lost, seen, false, 'agent_lost'],
    ['a middlebox may have closed the connection', lost, '192.168.0.9:5000', true, 'agent_lost'],
    ['it is older than protocol 1.3', lost, undefined, true, 'agent_lost'],
    ['it closed the link itself', undefined, seen, true, 'agent_lost'],
    ['the network is silent', new TunnelError('peer_unresponsive', ''), seen, true, 'link_lost'],
  ] as const)(
    'The end of an agent is told to dialers by a code: %s',
    (_, error, source, hasOthers, code) => {
      const tunnel = { cluster: 'c1', link: { peer: seen } };
      expect(agentLoss(tunnel, error, source, hasOthers)).toMatchObject({ code, cause: error });
    },
  );

  const end = async (othersForMs: number) => {
    const { clock, connect, dial } = makeRelay();
    const agent = await connect('a', { source: seen });
    const dialer = dial();
    await dialer.next(FrameType.welcome);
    await connect('b');
    await clock.advance(othersForMs);
    agent.link.close(lost);
    await clock.advance(0);
    return dialer.ended?.error;
  };

  it('The end of an agent ends sessions at once if another agent has served for long enough', async () => {
    expect(await end(relayLimits.otherAgentAgeMs + 1)).toMatchObject({ code: 'unknown_session' });
  });

  it('The end of an agent leaves its sessions waiting if the other agent connected a moment ago', async () => {
    expect(await end(relayLimits.otherAgentAgeMs - 1)).toMatchObject({ code: 'agent_lost' });
  });
});
