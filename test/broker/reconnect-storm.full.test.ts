import { expect, it } from 'vitest';
import { TunnelReconnector } from '../../src/agent/tunnel-reconnector.ts';
import type { SessionStore } from '../../src/acceptor/session-store.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { seededRandom } from '../../testkit/world/simulated-fleet.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const agents = 10_000;
const perSecond = 200;

interface Storm {
  /** Attempts in each second since the broker is back. */
  readonly attempts: readonly number[];
  /** Connections that were let in, in each second. */
  readonly admitted: readonly number[];
  /** The most attempts that one agent made while the broker was back. */
  readonly mostOfOneAgent: number;
}

/** All agents lose their tunnels at once; the broker is away for a while, and comes back to all of them. */
async function storm(downMs: number): Promise<Storm> {
  const clock = new VirtualClock();
  const random = seededRandom(22);
  const rate = new AcceptRate(perSecond, clock, random);
  // One each: removing one of ten thousand listeners from a signal takes time.
  const stops = Array.from({ length: agents }, () => new AbortController());
  const allAreIn = Promise.withResolvers<void>();
  const attempts: number[] = [];
  const admitted: number[] = [];
  const ofAgent = Array.from({ length: agents }, () => 0);
  const count = (seconds: number[]): void => {
    const second = Math.floor((clock.now() - downMs) / 1000);
    while (seconds.length <= second) seconds.push(0);
    seconds[second]!++;
  };
  let inside = 0;
  const connect = async (agent: number, signal: AbortSignal): Promise<AttachableLink> => {
    if (clock.now() < downMs) {
      throw new ConnectError('connect', 'connect: connection refused');
    }
    count(attempts);
    ofAgent[agent]!++;
    const retryAfterS = rate.admit();
    if (retryAfterS > 0) {
      throw new ConnectError('rejected', 'answered with 503', {
        status: 503,
        brokerCode: 'overloaded',
        retryAfterMs: retryAfterS * 1000,
      });
    }
    count(admitted);
    if (++inside === agents) allAreIn.resolve();
    // The tunnel stands until the end of the test.
    const { promise, reject } = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    return await promise;
  };
  const keepers = stops.map(({ signal }, agent) =>
    new TunnelReconnector({
      tunnel: 0,
      connect: () => connect(agent, signal),
      sessions: {} as SessionStore,
      clock,
      log: silentLogger,
      onWelcome: () => {},
    }).run(signal),
  );
  await clock.runUntil(allAreIn.promise);
  for (const stop of stops) stop.abort(new Error('all are in'));
  await Promise.all(keepers);
  return { attempts, admitted, mostOfOneAgent: Math.max(...ofAgent) };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

it(
  'Ten thousand agents reconnect at the accept rate, each after few attempts',
  { timeout: 120_000 },
  async () => {
    const { attempts, admitted, mostOfOneAgent } = await storm(5_000);
    expect(sum(admitted)).toBe(agents);
    // Serving all of them takes 50 s.
    expect(admitted.length).toBeLessThanOrEqual(70);
    // The first second has the burst of the bucket besides.
    for (const inOneSecond of admitted) expect(inOneSecond).toBeLessThanOrEqual(2 * perSecond);
    // Agents that have not been told anything come within the first seconds. All others have been told when to come.
    for (const inOneSecond of attempts.slice(3)) {
      expect(inOneSecond).toBeLessThanOrEqual(1.5 * perSecond);
    }
    expect(sum(attempts)).toBeLessThanOrEqual(2.5 * agents);
    expect(mostOfOneAgent).toBeLessThanOrEqual(5);
  },
);
