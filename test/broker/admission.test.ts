import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { Admission, defaultAdmissionLimits } from '../../src/broker/admission.ts';
import { AuthenticationError, type Authenticator } from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const stranger = { address: '192.0.2.1', certificates: [] };
const honest = { address: '192.0.2.2', certificates: [] };
const bearer = (token: string) => new Headers({ Authorization: `Bearer ${token}` });

function setUp() {
  const clock = new VirtualClock();
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r', address: '', directory, clock, log: silentLogger });
  let asked = 0;
  const authenticator: Authenticator = {
    async authenticate(headers) {
      asked++;
      if (headers.get('Authorization') === 'Bearer good') return { kind: 'agent', cluster: 'c1' };
      throw new AuthenticationError('nobody');
    },
  };
  const acceptRate = new AcceptRate(20, clock);
  const admission = new Admission({ relay, authenticator, acceptRate, clock });
  /** As the app does with a request: whoever is refused is counted. */
  const identify = async (headers: Headers, peer: typeof stranger) => {
    const answer = await admission.identify(headers, peer);
    if ('status' in answer && answer.status === 401) admission.refused(headers, peer);
    return answer;
  };
  return { clock, relay, admission, identify, acceptRate, asked: () => asked };
}

describe('Admission', () => {
  const { refusals } = defaultAdmissionLimits;

  it('Admission stops checking credentials of an address with too many refused requests, and still checks those of others', async () => {
    const { identify, asked, clock } = setUp();
    for (let at = 0; at < refusals.burst; at++) {
      expect(await identify(bearer(`bad ${at}`), stranger)).toMatchObject({ status: 401 });
    }
    const before = asked();
    const refused = await identify(bearer('good'), stranger);
    expect(refused).toMatchObject({
      status: 503,
      code: 'overloaded',
      retryAfterS: expect.any(Number),
    });
    expect(asked()).toBe(before);
    expect(await identify(bearer('good'), honest)).toMatchObject({ kind: 'agent' });
    await clock.advance(100);
    expect(await identify(bearer('good'), stranger)).toMatchObject({ kind: 'agent' });
  });

  it('Admission refuses requests without a credential and does not count them against their address', async () => {
    const { identify } = setUp();
    for (let at = 0; at < 10 * refusals.burst; at++) {
      expect(await identify(new Headers(), stranger)).toMatchObject({ status: 401 });
    }
    expect(await identify(bearer('good'), stranger)).toMatchObject({ kind: 'agent' });
  });

  it('Admission uses up the accept rate only for clients that it admits', async () => {
    const { identify, admission } = setUp();
    for (let at = 0; at < 100; at++) {
      await identify(bearer('bad'), stranger);
      await identify(new Headers(), stranger);
    }
    const clusters = Array.from({ length: 20 }, (_, at) => `c${at}`);
    expect(clusters.map((name) => admission.agentRefusal(name) ?? admission.rateRefusal())).toEqual(
      clusters.map(() => undefined),
    );
    expect(admission.rateRefusal()).toMatchObject({ status: 503, code: 'overloaded' });
  });

  it('Admission limits how often the agents of one cluster connect, without limiting other clusters', () => {
    const { admission } = setUp();
    const { burst } = defaultAdmissionLimits.agents;
    for (let at = 0; at < burst; at++) expect(admission.agentRefusal('c1')).toBeUndefined();
    expect(admission.agentRefusal('c1')).toMatchObject({ code: 'overloaded' });
    expect(admission.agentRefusal('c2')).toBeUndefined();
  });

  it('Admission limits the part of the accept rate that one dialer uses', () => {
    const { admission, acceptRate } = setUp();
    const admitted = Array.from({ length: 100 }, () => admission.dialerRefusal('c1', 'd'));
    expect(admitted.filter((refusal) => refusal === undefined)).toHaveLength(
      acceptRate.perSecond * defaultAdmissionLimits.dialerPart,
    );
    expect(admission.dialerRefusal('c1', 'other')).toBeUndefined();
  });

  it('Admission limits the tunnels of a cluster and the sessions of a dialer until some have ended', async () => {
    const { clock, relay, admission } = setUp();
    const { maxTunnelsPerCluster, maxSessionsPerDialer } = defaultAdmissionLimits;
    const tunnels = Array.from({ length: maxTunnelsPerCluster }, (_, at) => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      relay.admit(far, { kind: 'agent', cluster: 'c1', agent: `a${at}`, tunnel: 0 });
      return near;
    });
    expect(admission.agentRefusal('c1')?.message).toContain('--max-tunnels-per-cluster');
    expect(admission.agentRefusal('c2')).toBeUndefined();
    const sessions = Array.from({ length: maxSessionsPerDialer }, () => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      relay.admit(far, { kind: 'dialer', cluster: 'c1', dialer: 'd' });
      return near;
    });
    expect(admission.dialerRefusal('c1', 'd')?.message).toContain('256 sessions');
    expect(admission.dialerRefusal('c2', 'd')).toBeUndefined();
    for (const link of [tunnels[0]!, sessions[0]!]) {
      link.attach({ onData() {}, onFrame() {}, pull() {}, onClose() {} });
      link.close();
    }
    await clock.advance(1000);
    expect(admission.agentRefusal('c1')).toBeUndefined();
    expect(admission.dialerRefusal('c1', 'd')).toBeUndefined();
    relay.close();
  });
});
