import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AgentConnection } from '../../src/broker/agent-connection.ts';
import { DialerConnection } from '../../src/broker/dialer-connection.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
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
  const dial = (count: number) => {
    for (let at = 0; at < count; at++) port.onFrame(FrameType.open, 7, at, new Uint8Array(0));
  };
  return { clock, agent, agentLink, link, port, dial };
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

  it("A dialer that dials too fast stays paused while its agent's tunnel is full", async () => {
    const { clock, link, dial, agent, agentLink } = attached();
    dial(relayLimits.dialBurst);
    agentLink.room = 0;
    dial(1);
    await clock.advance(relayLimits.dialPauseMs);
    dial(1);
    expect(link.paused).toBe(true);
    agentLink.room = 1;
    agent.pull();
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
