import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AgentConnection } from '../../src/broker/agent-connection.ts';
import { DialerConnection, type DialerRelay } from '../../src/broker/dialer-connection.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link, LinkOwner } from '../../src/tunnel/link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

function playedLink() {
  const link = {
    peer: 'test',
    room: 256 * 1024,
    paused: false,
    sent: [] as FrameType[],
    send() {},
    sendCopy: (type: FrameType) => void link.sent.push(type),
    wake() {},
    pause: () => void (link.paused = true),
    resume: () => void (link.paused = false),
    close() {},
  };
  return link satisfies Link;
}

/** A dialer whose session is attached to an agent's tunnel. */
function attached() {
  const clock = new VirtualClock();
  const options = { replica: 'r1', address: '', clock, log: silentLogger };
  const relay = new Relay({ ...options, directory: new MemoryDirectory() });
  const [agentLink, link] = [playedLink(), playedLink()];
  const agent = new AgentConnection(relay, agentLink, { cluster: 'c1', agent: 'a', tunnel: 0 });
  const name = { cluster: 'c1', dialer: 'd', forwarded: false };
  const port = new DialerConnection(relay, link, name, { agent, session: 7 });
  return { clock, agent, agentLink, link, port, dial: dialsOf(port) };
}

/** A dialer whose session is forwarded to the replica that holds the agent's tunnel. */
async function forwarded() {
  const clock = new VirtualClock();
  const [ownerLink, link] = [playedLink(), playedLink()];
  const attach = Promise.withResolvers<LinkOwner>();
  const owner = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r2', address: 'r2', epoch: 1 };
  const relay: DialerRelay = {
    options: {
      ...{ replica: 'r1', address: '', clock, log: silentLogger },
      directory: new MemoryDirectory(),
      forward: async () => Object.assign(ownerLink, { attach: attach.resolve }),
    },
    draining: false,
    route: async () => ({ kind: 'remote', owner }),
    countOtherAgents: () => 0,
    onDialerClosed() {},
    relay() {},
  };
  const port = new DialerConnection(relay, link, { cluster: 'c1', dialer: 'd' });
  const session = '0'.repeat(32);
  const hello = encodeMessage({ ...protocolVersion, software: 'test', session });
  port.onFrame(FrameType.hello, 0, 0, hello);
  const hop = await attach.promise;
  // The connection keeps its new state in this turn.
  await Promise.resolve();
  return { clock, link, ownerLink, dial: dialsOf(port), pull: () => hop.pull() };
}

function dialsOf(port: DialerConnection): (count: number) => void {
  return (count) => {
    for (let at = 0; at < count; at++) port.onFrame(FrameType.open, 7, at, new Uint8Array(0));
  };
}

describe('A dialer that dials without end', () => {
  it('A dialer that dials without end may make a burst, and is then read as fast as it may dial', async () => {
    const { clock, link, dial, agentLink } = attached();
    dial(relayLimits.dialBurst - 1);
    expect(link.paused).toBe(false);
    dial(1);
    expect(link.paused).toBe(true);
    // Frames that have been read already are not lost.
    expect(agentLink.sent).toHaveLength(relayLimits.dialBurst);
    await clock.advance(relayLimits.dialPauseMs);
    expect(link.paused).toBe(false);
    dial((relayLimits.dialsPerSecond * relayLimits.dialPauseMs) / 1000);
    expect(link.paused).toBe(true);
  });

  it('A dialer within the dial rate is read without a pause', async () => {
    const { clock, link, dial } = attached();
    for (let second = 0; second < 20; second++) {
      dial(relayLimits.dialsPerSecond - 1);
      expect(link.paused).toBe(false);
      await clock.advance(1000);
    }
  });

  it.each([true, false])(
    "A dialer that dials too fast is read when it may dial again and its agent's tunnel has room (room comes first: %s)",
    async (isRoomFirst) => {
      const { clock, link, dial, agent, agentLink } = attached();
      dial(relayLimits.dialBurst);
      agentLink.room = 0;
      dial(1);
      const steps = [
        async () => {
          agentLink.room = 1;
          agent.pull();
        },
        () => clock.advance(relayLimits.dialPauseMs),
      ];
      const [first, second] = isRoomFirst ? steps : steps.toReversed();
      await first!();
      expect(link.paused).toBe(true);
      await second!();
      expect(link.paused).toBe(false);
    },
  );

  it('A dialer that dials too fast through another replica is read when both let it', async () => {
    const { clock, link, dial, ownerLink, pull } = await forwarded();
    dial(relayLimits.dialBurst);
    ownerLink.room = 0;
    dial(1);
    ownerLink.room = 1;
    pull();
    expect(link.paused).toBe(true);
    await clock.advance(relayLimits.dialPauseMs);
    expect(link.paused).toBe(false);
  });

  it('A dialer that dials too fast leaves no timer behind', async () => {
    const { clock, link, dial, port } = attached();
    dial(relayLimits.dialBurst);
    port.onClose(undefined);
    await clock.advance(1000);
    expect(link.paused).toBe(true);
  });
});
