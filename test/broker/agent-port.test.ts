import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { AgentPort } from '../../src/broker/agent-port.ts';
import type { AgentClaim, AgentRecord } from '../../src/broker/directory.ts';
import { Hub } from '../../src/broker/hub.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';

const hello = encodeMessage({ ...protocolVersion, software: 'test' });

/** Makes claims only when told to. */
class SlowDirectory extends MemoryDirectory {
  readonly go = Promise.withResolvers<void>();

  override async claim(agent: AgentClaim): Promise<AgentRecord> {
    await this.go.promise;
    return super.claim(agent);
  }
}

function makeHub(directory = new MemoryDirectory()): Hub {
  const options = { replica: 'r1', address: '', clock: systemClock, log: silentLogger };
  return new Hub({ ...options, directory });
}

/** A link that is full, and remembers whether it was paused. */
function fullLink(): Link & { paused: boolean } {
  return {
    paused: false,
    peer: 'test',
    room: 0,
    send() {},
    sendCopy() {},
    wake() {},
    pause() {
      this.paused = true;
    },
    resume() {
      this.paused = false;
    },
    close() {},
  };
}

const portOf = (hub: Hub, agent: string) =>
  new AgentPort(hub, fullLink(), { cluster: 'c1', agent, tunnel: 0 });

describe('agent port', () => {
  it('shares neither sessions nor waiting dialers with another', () => {
    const hub = makeHub();
    const [one, two] = [portOf(hub, 'one'), portOf(hub, 'two')];
    const link = fullLink();
    const dialer = { link, dialer: 'somebody', sendGoAway() {} };
    one.attach(dialer, '0'.repeat(32), false);
    one.pauseWhileFull(dialer);
    expect([one.sessionCount, two.sessionCount]).toEqual([1, 0]);
    two.pull();
    expect(link.paused).toBe(true);
    one.pull();
    expect(link.paused).toBe(false);
  });

  it('tells whoever waits for its claim once that is made, and at once from then on', async () => {
    const directory = new SlowDirectory();
    const port = portOf(makeHub(directory), 'one');
    port.onFrame(FrameType.hello, 0, 0, hello);
    const standing = port.claimed.then(() => port.standing);
    expect(port.standing).toBe(false);
    directory.go.resolve();
    expect(await standing).toBe(true);
    await port.claimed;
    port.onClose(undefined);
  });

  it('tells whoever waits for its claim when it is gone before', async () => {
    const port = portOf(makeHub(new SlowDirectory()), 'one');
    port.onFrame(FrameType.hello, 0, 0, hello);
    const { claimed } = port;
    port.onClose(undefined);
    await claimed;
    expect(port.standing).toBe(false);
    await port.claimed;
  });
});

describe('hub', () => {
  it('knows whether an agent has its other tunnel here', () => {
    const hub = makeHub();
    const port = portOf(hub, 'one');
    port.onFrame(FrameType.hello, 0, 0, hello);
    expect(hub.holdsAnother('c1', 'one', 1)).toBe(true);
    expect(hub.holdsAnother('c1', 'one', 0)).toBe(false);
    expect(hub.holdsAnother('c1', 'two', 1)).toBe(false);
    expect(hub.holdsAnother('c2', 'one', 1)).toBe(false);
    port.onClose(undefined);
    expect(hub.holdsAnother('c1', 'one', 1)).toBe(false);
  });
});
