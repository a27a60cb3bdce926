import { describe, expect, it } from 'vitest';
import { BrokerReach } from '../../src/dialer/node/broker-reach.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const unauthorized = new TunnelError('unauthorized', 'the token is not accepted');

function makeReach() {
  const clock = new VirtualClock(20);
  const log = new RecordingLogger();
  const state: { answer: TunnelError | undefined; attempts: number } = {
    answer: undefined,
    attempts: 0,
  };
  const start = () =>
    new BrokerReach({
      connect: async () => {
        state.attempts++;
        if (state.answer !== undefined) throw state.answer;
        return memoryLinkPair(queueMicrotask)[0];
      },
      clock,
      log,
    });
  return { clock, log, state, start };
}

describe('BrokerReach', () => {
  it("The broker's reach is probed once at the start, and not again while dials succeed", async () => {
    const { clock, state, start } = makeReach();
    using reach = start();
    expect(reach.unready).toBe('the broker has not answered yet');
    await clock.advance(600_000);
    expect([reach.unready, state.attempts]).toEqual([undefined, 1]);
  });

  it("The broker's reach is lost with a reason, which is logged once, and found again without a dial", async () => {
    const { clock, log, state, start } = makeReach();
    state.answer = unauthorized;
    using reach = start();
    await clock.advance(60_000);
    expect(reach.unready).toBe(unauthorized.message);
    expect(state.attempts).toBeGreaterThan(10);
    state.answer = new TunnelError('link_lost', 'connection refused');
    await clock.advance(60_000);
    expect(log.lines.map(({ fields }) => fields?.['code'])).toEqual(['unauthorized', 'link_lost']);
    state.answer = undefined;
    await clock.advance(2_000);
    expect([reach.unready, log.lines.at(-1)?.event]).toEqual([undefined, 'broker reached again']);
  });

  it("The broker's reach is not lost when the broker refuses one cluster only", async () => {
    const { clock, start } = makeReach();
    using reach = start();
    await clock.advance(0);
    const cause = new ConnectError('rejected', '403', { brokerCode: 'forbidden_cluster' });
    reach.settled(new TunnelError('forbidden', 'not for cluster c2', { cause }));
    expect(reach.unready).toBeUndefined();
  });

  it("The broker's reach follows the results of dials", async () => {
    const { clock, start } = makeReach();
    using reach = start();
    await clock.advance(0);
    reach.settled(unauthorized);
    expect(reach.unready).toBe(unauthorized.message);
    reach.settled(undefined);
    expect([reach.unready, clock.pendingTimers]).toEqual([undefined, 0]);
  });

  it.each(['overloaded', 'no_agent'] as const)(
    "The broker's reach counts %s as an answer of the broker",
    async (code) => {
      const { clock, state, start } = makeReach();
      state.answer = new TunnelError(code, 'not now');
      using reach = start();
      await clock.advance(0);
      expect([reach.unready, clock.pendingTimers]).toEqual([undefined, 0]);
    },
  );

  it("The broker's reach leaves no timer when it ends", async () => {
    const { clock, state, start } = makeReach();
    state.answer = unauthorized;
    const reach = start();
    await clock.advance(0);
    reach[Symbol.dispose]();
    expect(clock.pendingTimers).toBe(0);
  });
});
