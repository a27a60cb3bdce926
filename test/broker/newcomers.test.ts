import { expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

function makeRelay() {
  const clock = new VirtualClock(20);
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r1', address: '', directory, clock, log: silentLogger });
  const admit = (who: 'agent' | 'dialer') => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    if (who === 'agent') relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
    else relay.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'somebody' });
    return new PlayedLink(near);
  };
  return { clock, relay, admit };
}

it.each(['agent', 'dialer'] as const)(
  'The link of an %s that has not sent HELLO closes with the broker and leaves no timer',
  async (who) => {
    const { clock, relay, admit } = makeRelay();
    const newcomer = admit(who);
    relay.close();
    expect(await newcomer.closed.promise).toMatchObject({ code: 'draining' });
    await clock.advance(0);
    expect([clock.pendingTimers, relay.agentCount, relay.dialerCount]).toEqual([0, 0, 0]);
  },
);

it('An agent that has not sent HELLO is sent elsewhere when a drain begins', async () => {
  const { clock, relay, admit } = makeRelay();
  const newcomer = admit('agent');
  const dialer = admit('dialer');
  const draining = relay.drain(new AbortController().signal, 10_000);
  await clock.advance(0);
  expect(newcomer.ended?.error).toMatchObject({ code: 'draining' });
  // Somebody whom the drain waits for.
  expect(dialer.ended).toBeUndefined();
  dialer.link.close();
  await draining;
});

it('A broker forgets an agent that leaves before HELLO', async () => {
  const { clock, relay, admit } = makeRelay();
  admit('agent').link.close();
  const agent = admit('agent');
  const hello = encodeMessage({ ...protocolVersion, software: 'test' });
  agent.link.sendCopy(FrameType.hello, 0, 0, hello);
  await agent.next(FrameType.welcome);
  // No forward: such a drain waits for the dialers alone, and tells the agent first.
  await relay.drain(new AbortController().signal, 10_000);
  await clock.advance(0);
  expect(agent.frames.map(({ type }) => type)).toEqual([FrameType.goaway]);
  expect(agent.ended?.error).toMatchObject({ code: 'draining' });
});
