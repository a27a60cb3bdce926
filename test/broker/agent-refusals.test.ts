import { expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

it.each([
  ['overloaded', 'overloaded', 1],
  ['forbidden', 'forbidden', 1],
  ['draining', 'agent_lost', 2],
  ['unknown_session', 'agent_lost', 2],
])(
  'A dial to an agent that refuses a new session with %s ends with %s at once, after %i attempts',
  async (said, heard, attempts) => {
    const clock = new VirtualClock(20);
    const directory = new MemoryDirectory();
    const relay = new Relay({ replica: 'r1', address: '', directory, clock, log: silentLogger });
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
    const agent = new PlayedLink(near);
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...protocolVersion, software: 'test' }));
    await agent.next(FrameType.welcome);
    let links = 0;
    await using dialer = new PooledDialer({
      connect: async (cluster) => {
        links++;
        const [mine, theirs] = memoryLinkPair(queueMicrotask);
        relay.admit(theirs, { kind: 'dialer', cluster, dialer: 'somebody' });
        return mine;
      },
      clock,
      log: silentLogger,
      software: 'test',
    });
    const ended = Promise.withResolvers<TunnelError | undefined>();
    const handler = { onData() {}, onFin() {}, onWritable() {}, onClose: ended.resolve };
    dialer.open({ cluster: 'c1', target: sampleTarget }, handler);
    for (let attempt = 0; attempt < attempts; attempt++) {
      const { session } = await agent.next(FrameType.attach);
      near.sendCopy(FrameType.detach, session, 0, encodeMessage({ code: said, message: 'no' }));
    }
    expect((await ended.promise)?.code).toBe(heard);
    expect(clock.now()).toBe(0);
    expect([links, dialer.sessionCount, relay.dialerCount]).toEqual([attempts, 0, 0]);
  },
);
