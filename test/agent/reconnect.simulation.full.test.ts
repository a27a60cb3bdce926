import { describe, expect, it } from 'vitest';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import { TunnelReconnector } from '../../src/agent/tunnel-reconnector.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { LinkOwner } from '../../src/tunnel/link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { seededRandom } from '../../testkit/world/simulated-fleet.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

/** Answers HELLO with WELCOME, and then nothing. */
function welcomingLink(): AttachableLink {
  let owner: LinkOwner;
  const welcome = { ...protocolVersion, replica: 'r', session: 0, agent: 'a' };
  const link = {
    peer: 'broker',
    room: 1024,
    attach: (given: LinkOwner) => (owner = given),
    sendCopy(type: FrameType) {
      if (type !== FrameType.hello) return;
      queueMicrotask(() => owner.onFrame(FrameType.welcome, 0, 0, encodeMessage(welcome)));
    },
    wake() {},
    close() {
      owner.onClose(undefined);
    },
  };
  return link as unknown as AttachableLink;
}

interface Fleet {
  /** When each agent got its tunnel, in milliseconds. */
  readonly connectedMs: number[];
  /** How many attempts there were, by second. */
  readonly attempts: Map<number, number>;
}

type Connect = (nowMs: number) => Promise<void>;

/** Runs agents that have lost their tunnel at 0 until all have another, or `limitMs` are over. */
async function reconnect(agents: number, connect: Connect, clock: VirtualClock, limitMs: number) {
  const fleet: Fleet = { connectedMs: [], attempts: new Map() };
  const random = seededRandom(7);
  const sessions = new SessionStore({
    makeSession: () => {
      throw new Error('no dialer is there');
    },
    clock,
    log: silentLogger,
    resumeGraceMs: 0,
  });
  const running = Array.from({ length: agents }, () => {
    // One signal per agent, because removing one of 10,000 listeners from one signal is slow.
    const stop = new AbortController();
    const keeper = new TunnelReconnector({
      tunnel: 0,
      async connect() {
        const second = Math.floor(clock.now() / 1000);
        fleet.attempts.set(second, (fleet.attempts.get(second) ?? 0) + 1);
        await connect(clock.now());
        return welcomingLink();
      },
      sessions,
      clock,
      log: silentLogger,
      onWelcome: () => fleet.connectedMs.push(clock.now()),
      random,
    });
    return { keeper, stop, run: keeper.run(stop.signal) };
  });
  while (fleet.connectedMs.length < agents && clock.now() < limitMs) await clock.advance(1000);
  const leaving = new TunnelError('draining', 'the agent is shutting down');
  for (const { keeper, stop } of running) {
    stop.abort(leaving);
    keeper.leave(leaving);
  }
  // Attempts that are still under way end with their own timeout.
  await clock.runUntilIdle();
  await Promise.all(running.map(({ run }) => run));
  return fleet;
}

/** The sum of the attempts in these seconds, the last not included. */
function sum({ attempts }: Fleet, from: number, to: number): number {
  let count = 0;
  for (const [second, n] of attempts) if (second >= from && second < to) count += n;
  return count;
}

function refusedUntil(backMs: number): Connect {
  return async (nowMs) => {
    if (nowMs < backMs) throw new ConnectError('connect', 'connection refused');
  };
}

describe('A broker that was away', () => {
  it.each([1, 5, 20, 58])(
    'Agents of a broker that refused connections for %d s are all connected within 2 s of its return',
    async (downS) => {
      const clock = new VirtualClock(20);
      const backMs = downS * 1000;
      const { connectedMs } = await reconnect(200, refusedUntil(backMs), clock, 200_000);
      expect(connectedMs).toHaveLength(200);
      expect(Math.max(...connectedMs) - backMs).toBeLessThanOrEqual(2_000);
    },
  );

  it('Agents of a broker behind a gateway that answers 503 without Retry-After are connected within 2 s of its return', async () => {
    const clock = new VirtualClock(20);
    const connect: Connect = async (nowMs) => {
      if (nowMs < 20_000) throw new ConnectError('rejected', 'no backend', { status: 503 });
    };
    const { connectedMs } = await reconnect(200, connect, clock, 200_000);
    expect(Math.max(...connectedMs)).toBeLessThanOrEqual(22_000);
  });

  it('Agents of a broker that told them during its drain when to retry are connected within 2 s of its return', async () => {
    const clock = new VirtualClock(20);
    const details = { status: 503, brokerCode: 'draining', retryAfterMs: 1_000 };
    const connect: Connect = async (nowMs) => {
      if (nowMs < 30_000) throw new ConnectError('rejected', 'draining', details);
    };
    const { connectedMs } = await reconnect(200, connect, clock, 200_000);
    expect(Math.max(...connectedMs)).toBeLessThanOrEqual(32_000);
  });

  it('Agents of a broker that is away for an hour retry less and less often, at last two to four times a minute', async () => {
    const clock = new VirtualClock(20);
    const fleet = await reconnect(20, refusedUntil(3_600_000), clock, 600_000);
    const perAgentAndMinute = sum(fleet, 300, 600) / 20 / 5;
    expect(perAgentAndMinute).toBeGreaterThan(2);
    expect(perAgentAndMinute).toBeLessThan(6);
  });
});

describe('A storm of 10,000 agents', { timeout: 60_000 }, () => {
  const agents = 10_000;

  it('A storm of 10,000 agents reconnects evenly, with at most twice the average per tenth of a second', async () => {
    const clock = new VirtualClock(20);
    const backMs = 3_000;
    const { connectedMs } = await reconnect(agents, refusedUntil(backMs), clock, 60_000);
    expect(connectedMs).toHaveLength(agents);
    const tenths = new Map<number, number>();
    for (const atMs of connectedMs) {
      const tenth = Math.floor((atMs - backMs) / 100);
      tenths.set(tenth, (tenths.get(tenth) ?? 0) + 1);
    }
    expect(Math.max(...tenths.values())).toBeLessThan((2 * agents) / 10);
  });

  it('A storm of 10,000 agents is served by a broker that takes 1 ms per handshake, and few handshakes fail', async () => {
    const clock = new VirtualClock(20);
    const backMs = 3_000;
    let freeAtMs = backMs;
    let handshakes = 0;
    // The broker serves agents one after another. An agent that waits longer than 15 s gives up,
    // and the broker's work is lost.
    const connect: Connect = async (nowMs) => {
      if (nowMs < backMs) throw new ConnectError('connect', 'connection refused');
      handshakes++;
      freeAtMs = Math.max(freeAtMs, nowMs) + 1;
      const waitMs = freeAtMs - nowMs;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      clock.setTimer(Math.min(waitMs, 15_000), () => {
        if (waitMs <= 15_000) resolve();
        else reject(new ConnectError('timeout', 'no answer within 15 s'));
      });
      await promise;
    };
    const { connectedMs } = await reconnect(agents, connect, clock, 120_000);
    expect(connectedMs).toHaveLength(agents);
    expect(handshakes).toBeLessThan(1.1 * agents);
    expect(Math.max(...connectedMs) - backMs).toBeLessThan(15_000);
  });

  it('A storm of agents at a broker that is too slow retries less and less often after timeouts', async () => {
    const clock = new VirtualClock(20);
    const timesOut: Connect = async () => {
      const { promise, reject } = Promise.withResolvers<void>();
      clock.setTimer(15_000, () => reject(new ConnectError('timeout', 'no answer')));
      await promise;
    };
    const fleet = await reconnect(200, timesOut, clock, 400_000);
    expect(sum(fleet, 200, 400) / 200).toBeLessThan(sum(fleet, 0, 100) / 100);
  });
});
