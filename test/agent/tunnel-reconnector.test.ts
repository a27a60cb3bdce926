import { describe, expect, it } from 'vitest';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import {
  TunnelReconnector,
  type TunnelReconnectorOptions,
} from '../../src/agent/tunnel-reconnector.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import { ConnectError, type ConnectErrorDetails } from '../../src/tunnel/connect-error.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const minuteMs = 60_000;

/** How often an agent tries within some minutes if each attempt ends like this. */
const attemptsIn = (minutes: number, details: ConnectErrorDetails, log?: Logger): Promise<number> =>
  connectionsIn(minutes, () => Promise.reject(new ConnectError('rejected', 'no', details)), log);

/** How often an agent connects within some minutes. */
async function connectionsIn(
  minutes: number,
  connect: () => Promise<AttachableLink>,
  log: Logger = silentLogger,
): Promise<number> {
  return (await attemptTimes(minutes, connect, { log })).length;
}

/** When an agent connects within some minutes, in milliseconds. */
async function attemptTimes(
  minutes: number,
  connect: (atMs: number) => Promise<AttachableLink>,
  { log = silentLogger, ...more }: Partial<TunnelReconnectorOptions> = {},
): Promise<readonly number[]> {
  const clock = new VirtualClock(20);
  const stop = new AbortController();
  const attemptsAtMs: number[] = [];
  const reconnector = new TunnelReconnector({
    tunnel: 0,
    connect: () => {
      attemptsAtMs.push(clock.now());
      return connect(clock.now());
    },
    sessions: new SessionStore({
      makeSession: () => {
        throw new Error('there is no tunnel');
      },
      clock,
      log: silentLogger,
      resumeGraceMs: 0,
    }),
    clock,
    log,
    onWelcome() {},
    random: () => 0.5,
    ...more,
  });
  const running = reconnector.run(stop.signal);
  await clock.advance(minutes * minuteMs);
  stop.abort();
  await running;
  return attemptsAtMs;
}

describe('A refused credential', () => {
  const refuse = () =>
    Promise.reject(new ConnectError('rejected', 'no', { status: 401, brokerCode: 'unauthorized' }));

  it('A refused credential that is replaced is tried at once, and then once a minute again', async () => {
    let looks = 0;
    // The 10th look, 9 s after the first attempt, finds another credential.
    const credentialId = async () => (++looks <= 10 ? 'old' : 'new');
    const timesMs = await attemptTimes(2, refuse, { credentialId });
    expect(timesMs.slice(0, 2)).toEqual([0, 10_000]);
    expect(timesMs[2]).toBeGreaterThanOrEqual(10_000 + minuteMs);
  });

  it("A refused credential is tried again with upstream's delays if the agent has them", async () => {
    const retry = { intervalMs: 1_000, capMs: 10_000 };
    const timesMs = await attemptTimes(2, refuse, { retry });
    const delaysMs = timesMs.slice(1).map((atMs, index) => Math.round(atMs - timesMs[index]!));
    // 95 % of 1 s, 1.5 s and so on, because half of the random tenth is left out.
    expect(delaysMs.slice(0, 8)).toEqual([950, 1425, 2138, 3206, 4809, 7214, 9500, 9500]);
  });

  it("A refused credential does not shorten the broker's own delay, with upstream's delays", async () => {
    const details = { status: 401, brokerCode: 'unauthorized', retryAfterMs: 30_000 };
    const refuseLong = () => Promise.reject(new ConnectError('rejected', 'no', details));
    const retry = { intervalMs: 1_000, capMs: 10_000 };
    const [first, second] = await attemptTimes(1, refuseLong, { retry });
    expect(second! - first!).toBeGreaterThanOrEqual(30_000);
  });
});

describe('upgrade answered by 401 or 403', () => {
  it.each([
    [401, 'unauthorized'],
    [403, 'forbidden'],
  ])(
    'upgrade answered by the broker (%d %s): the agent retries once a minute, because a person must act',
    async (status, brokerCode) => {
      expect(await attemptsIn(10, { status, brokerCode })).toBeLessThanOrEqual(10);
    },
  );

  it.each([401, 403, 407, 502])(
    'upgrade answered by a gateway (%d): the agent retries as after any outage, at least every 30 s',
    async (status) => {
      expect(await attemptsIn(10, { status })).toBeGreaterThanOrEqual(20);
    },
  );

  it('upgrade answered by 409: the agent reads it as news of its other tunnel only if a broker answered', async () => {
    const warned = new RecordingLogger();
    await attemptsIn(1, { status: 409, brokerCode: 'already_here' }, warned);
    expect(warned.lines.map(({ event }) => event)).not.toContain('no connection to the broker');
    await attemptsIn(1, { status: 409 }, warned);
    expect(warned.lines.map(({ event }) => event)).toContain('no connection to the broker');
  });
});

describe('A broker that accepts each connection and ends it at once', () => {
  it('A broker that ends each connection at once is tried less and less often, like an unreachable broker', async () => {
    const endsAtOnce = async () => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      queueMicrotask(() => far.close());
      return near;
    };
    const inFive = await connectionsIn(5, endsAtOnce);
    const inTen = await connectionsIn(10, endsAtOnce);
    // The mean delay is 15 s then.
    expect(inTen - inFive).toBe((5 * minuteMs) / 15_000);
    expect(inTen).toBe(await attemptsIn(10, {}));
  });
});
