import { describe, expect, it } from 'vitest';
import { AgentTunnel } from '../../src/acceptor/agent-tunnel.ts';
import type { SessionStore } from '../../src/acceptor/session-store.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { LinkOwner } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';

/** A tunnel to a broker that is played by the test. */
async function world() {
  const [near, far] = memoryLinkPair(queueMicrotask);
  const pings: Uint8Array[] = [];
  const broker: LinkOwner = {
    onData() {},
    onFrame: (type, _session, _stream, payload) => {
      if (type === FrameType.ping) pings.push(payload.slice());
    },
    pull() {},
    onClose() {},
  };
  far.attach(broker);
  const goAways: number[] = [];
  const closed: (TunnelError | undefined)[] = [];
  const tunnel = new AgentTunnel(near, {
    software: 'test',
    // No session comes to this tunnel.
    sessions: {} as SessionStore,
    onWelcome() {},
    onGoAway: (retryAfterMs) => void goAways.push(retryAfterMs),
    onClosed: (error) => void closed.push(error),
  });
  const settle = async () => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  const welcome = async () => {
    const limits = { ...protocolVersion, replica: 'r', session: 0, agent: 'a' };
    far.sendCopy(FrameType.welcome, 0, 0, encodeMessage(limits));
    await settle();
  };
  const pong = async (payload: Uint8Array) => {
    far.sendCopy(FrameType.pong, 0, 0, payload);
    await settle();
  };
  return { tunnel, pings, welcome, pong, settle, far, near, goAways, closed };
}

describe('A tunnel that is asked whether its broker answers', () => {
  it('A tunnel confirms that its broker answers only after the answer to this question', async () => {
    const { tunnel, pings, welcome, pong, settle } = await world();
    await welcome();
    const answered: string[] = [];
    tunnel.probe(() => answered.push('first'));
    tunnel.probe(() => answered.push('second'));
    await settle();
    expect([pings.length, answered]).toEqual([2, []]);
    // A PONG without a PING.
    await pong(new Uint8Array(8).fill(9));
    await pong(new Uint8Array(3));
    expect(answered).toEqual([]);
    await pong(pings[1]!);
    await pong(pings[1]!);
    expect(answered).toEqual(['second']);
    await pong(pings[0]!);
    expect(answered).toEqual(['second', 'first']);
  });

  it('A tunnel asks no broker before the broker has accepted it, nor after the tunnel has ended', async () => {
    const { tunnel, pings, welcome, settle, far } = await world();
    const answered: string[] = [];
    tunnel.probe(() => answered.push('early'));
    await settle();
    expect([tunnel.isEstablished, pings]).toEqual([false, []]);
    await welcome();
    expect(tunnel.isEstablished).toBe(true);
    far.close();
    await settle();
    tunnel.probe(() => answered.push('late'));
    await settle();
    expect([tunnel.isEstablished, pings, answered]).toEqual([false, [], []]);
  });
});

describe('A tunnel to a broker that sends more than it should', () => {
  it('A tunnel obeys the first GOAWAY only', async () => {
    const { goAways, far, welcome, settle } = await world();
    await welcome();
    for (let again = 0; again < 100; again++) {
      const goAway = encodeMessage({ deadlineMs: 1, retryAfterMs: again, scope: 'broker' });
      far.sendCopy(FrameType.goaway, 0, 0, goAway);
    }
    await settle();
    expect(goAways).toEqual([0]);
  });

  it('A tunnel ends with protocol_error at a second WELCOME and at a PING of 9 bytes', async () => {
    const second = await world();
    await second.welcome();
    await second.welcome();
    expect(second.closed[0]?.code).toBe('protocol_error');
    const ping = await world();
    ping.far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(9));
    await ping.settle();
    expect(ping.closed[0]?.code).toBe('protocol_error');
  });

  it('A tunnel drops PINGs while the broker does not read', async () => {
    const { far, near, welcome, settle } = await world();
    await welcome();
    far.pause();
    const roomBefore = near.room;
    for (let ask = 0; ask < 100_000; ask++) {
      far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
      if (ask % 1000 === 0) await settle();
    }
    await settle();
    expect(near.room).toBeLessThanOrEqual(0);
    expect(roomBefore - near.room).toBeLessThan(300 * 1024);
  });

  it('A tunnel ends with overloaded when refused sessions pile up at a broker that does not read', async () => {
    const { tunnel, far, closed, welcome, settle } = await world();
    await welcome();
    far.pause();
    const refusal = new TunnelError('unknown_session', 'x'.repeat(2000));
    for (let session = 1; session < 5_000; session++) tunnel.refuse(session, refusal);
    far.resume();
    await settle();
    expect(closed[0]?.code).toBe('overloaded');
  });
});
