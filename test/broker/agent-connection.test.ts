import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AgentConnection } from '../../src/broker/agent-connection.ts';
import type { AgentClaim, AgentRecord } from '../../src/broker/directory.ts';
import { ReadingPauses } from '../../src/broker/reading-pauses.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
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

function makeRelay(directory = new MemoryDirectory()): Relay {
  const options = { replica: 'r1', address: '', clock: systemClock, log: silentLogger };
  return new Relay({ ...options, directory });
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

function played(link: Link) {
  const pauses = new ReadingPauses(link);
  const name = { dialer: 'somebody', isGateway: false };
  return { link, pauses, ...name, queuedControlBytes: 0, sendGoAway() {} };
}

/** A link whose other end does not read: what is sent, and why it was closed. */
function unreadLink(room = 256 * 1024) {
  const sent: FrameType[] = [];
  const closes: (TunnelError | undefined)[] = [];
  const link: Link = {
    peer: 'unread',
    get room() {
      return closes.length > 0 ? 0 : room;
    },
    send() {},
    sendCopy(type, _session, _stream, { length }) {
      if (closes.length > 0) return;
      sent.push(type);
      room -= length + 12;
    },
    wake() {},
    pause() {},
    resume() {},
    close: (error) => void closes.push(error),
  };
  return { link, sent, closes };
}

const connectionOf = (relay: Relay, agent: string) =>
  new AgentConnection(relay, fullLink(), { cluster: 'c1', agent, tunnel: 0 });

describe('AgentConnection', () => {
  it('An agent connection shares neither sessions nor paused dialers with another', () => {
    const relay = makeRelay();
    const [one, two] = [connectionOf(relay, 'one'), connectionOf(relay, 'two')];
    const link = fullLink();
    const dialer = played(link);
    one.sessions.attach(dialer, '0'.repeat(32), false);
    one.sessions.pauseWhileFull(dialer);
    expect([one.sessions.size, two.sessions.size]).toEqual([1, 0]);
    two.pull();
    expect(link.paused).toBe(true);
    one.pull();
    expect(link.paused).toBe(false);
  });

  it('An agent connection resolves waiting callers when its claim is made, and later callers at once', async () => {
    const directory = new SlowDirectory();
    const connection = connectionOf(makeRelay(directory), 'one');
    connection.onFrame(FrameType.hello, 0, 0, hello);
    const standing = connection.claim.made.then(() => connection.claim.established);
    expect(connection.claim.established).toBe(false);
    directory.go.resolve();
    expect(await standing).toBe(true);
    await connection.claim.made;
    connection.onClose(undefined);
  });

  it('An agent connection resolves waiting callers when it closes before its claim is made', async () => {
    const connection = connectionOf(makeRelay(new SlowDirectory()), 'one');
    connection.onFrame(FrameType.hello, 0, 0, hello);
    const { made } = connection.claim;
    connection.onClose(undefined);
    await made;
    expect(connection.claim.established).toBe(false);
    await connection.claim.made;
  });
});

describe('An agent connection whose peers do not read', () => {
  const name = { cluster: 'c1', agent: 'a', tunnel: 0 };
  const failure = encodeMessage({ code: 'refused', message: 'connection refused' });

  it('An agent connection answers no more PINGs than its link has room for', () => {
    const { link, sent } = unreadLink(2000);
    const connection = new AgentConnection(makeRelay(), link, name);
    for (let ask = 0; ask < 10_000; ask++) {
      connection.onFrame(FrameType.ping, 0, 0, new Uint8Array(8));
    }
    expect(sent.length).toBe(100);
    connection.onClose(undefined);
  });

  it('An agent connection refuses a PING that does not have 8 bytes', () => {
    const connection = new AgentConnection(makeRelay(), unreadLink().link, name);
    expect(() => connection.onFrame(FrameType.ping, 0, 0, new Uint8Array(9))).toThrow('8');
    connection.onClose(undefined);
  });

  it('An agent connection sends one GOAWAY to each dialer, however many the agent sends', () => {
    const connection = connectionOf(makeRelay(), 'one');
    let goAways = 0;
    const dialer = { ...played(fullLink()), sendGoAway: () => void goAways++ };
    connection.onFrame(FrameType.hello, 0, 0, hello);
    connection.sessions.attach(dialer, '0'.repeat(32), false);
    for (let again = 0; again < 1000; again++) {
      connection.onFrame(FrameType.goaway, 0, 0, new Uint8Array(0));
    }
    expect(goAways).toBe(1);
    connection.onClose(undefined);
  });

  it('An agent connection refuses GOAWAY before HELLO', () => {
    const connection = connectionOf(makeRelay(), 'one');
    const goAway = () => connection.onFrame(FrameType.goaway, 0, 0, new Uint8Array(0));
    expect(goAway).toThrow('GOAWAY came before HELLO');
    connection.onClose(undefined);
  });

  it("An agent connection passes PING and PONG to a dialer only while the dialer's link has room", () => {
    const connection = connectionOf(makeRelay(), 'one');
    const { link, sent, closes } = unreadLink(1000);
    const session = connection.sessions.attach(played(link), '0'.repeat(32), false);
    for (let answer = 0; answer < 10_000; answer++) {
      connection.onFrame(FrameType.pong, session, 0, new Uint8Array(8));
    }
    expect([sent.length, closes]).toEqual([50, []]);
    connection.onClose(undefined);
  });

  it('An agent connection closes only the dialer for which 8 MiB of control frames wait', () => {
    const connection = connectionOf(makeRelay(), 'one');
    const [unread, other] = [unreadLink(1000), unreadLink()];
    const session = connection.sessions.attach(played(unread.link), '0'.repeat(32), false);
    const otherSession = connection.sessions.attach(played(other.link), '1'.repeat(32), false);
    let answers = 0;
    while (unread.closes.length === 0 && answers < 1_000_000) {
      connection.onFrame(FrameType.refused, session, ++answers, failure);
    }
    expect(unread.closes[0]?.code).toBe('overloaded');
    expect((answers * (failure.length + 12)) / 2 ** 20).toBeCloseTo(8, 1);
    connection.onFrame(FrameType.refused, otherSession, 1, failure);
    expect([other.sent, other.closes]).toEqual([[FrameType.refused], []]);
    connection.onClose(undefined);
  });

  it('An agent connection closes when its agent never reads ATTACH and DETACH', () => {
    const { link, closes } = unreadLink(-127.99 * 2 ** 20);
    const connection = new AgentConnection(makeRelay(), link, name);
    for (let come = 0; come < 10_000 && closes.length === 0; come++) {
      const session = connection.sessions.attach(played(fullLink()), '0'.repeat(32), false);
      connection.sessions.detach(session, undefined);
    }
    expect(closes[0]?.code).toBe('overloaded');
    connection.onClose(undefined);
  });
});

describe('Relay.holdsAnother', () => {
  it("The relay knows whether an agent's process has its other tunnel here", () => {
    const relay = makeRelay();
    const connection = connectionOf(relay, 'one');
    const holdsAnother = (cluster: string, agent: string, tunnel: number) =>
      relay.holdsAnother({ cluster, agent, tunnel });
    connection.onFrame(FrameType.hello, 0, 0, hello);
    expect(holdsAnother('c1', 'one', 1)).toBe(true);
    expect(holdsAnother('c1', 'one', 0)).toBe(false);
    expect(holdsAnother('c1', 'two', 1)).toBe(false);
    expect(holdsAnother('c2', 'one', 1)).toBe(false);
    connection.onClose(undefined);
    expect(holdsAnother('c1', 'one', 1)).toBe(false);
  });
});
