import { afterEach, describe, expect, it, vi } from 'vitest';
import { TunnelError, type TunnelErrorCode } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeHello, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { dialLimits } from '../../src/dialer/dial-limits.ts';
import { Fleet } from '../../testkit/world/simulated-fleet.ts';
import { playedDialer, sessionNumber } from './played-dialer.ts';

const nothing = { bytes: 0, end: 'nothing' } as const;
const { spreadFromStreams } = dialLimits;

/** A dialer and several agents of its cluster, each with a zone or without one. */
async function fleetOf(
  zones: readonly (string | undefined)[],
  { zone, replicas = 1 }: { zone?: string; replicas?: number } = {},
) {
  const shape = { replicas, tunnels: 1, dialers: 1 };
  const fleet = new Fleet(7, zone === undefined ? shape : { ...shape, zone });
  vi.spyOn(Math, 'random').mockImplementation(fleet.random);
  fleet.agent.kill();
  const ids = zones.map((_, at) => `agent-${at}`);
  for (const [at, id] of ids.entries()) fleet.startAgent(id, true, zones[at]);
  await fleet.clock.advance(3_000);
  const agents = fleet.agents.slice(1);
  const open = async (host?: string) => {
    const transfer = fleet.open(0, nothing, nothing, 10_000, host);
    await fleet.clock.advance(200);
    return transfer.dialed;
  };
  const dialsAt = () => agents.map(({ dialedHosts }) => dialedHosts.length);
  /** The agent that the dialer's first session reaches, and the other one. */
  const pair = () => {
    const [first] = agents.filter(({ sessions }) => sessions.size > 0);
    return { first: first!, second: agents.find((agent) => agent !== first)! };
  };
  return { fleet, agents, open, dialsAt, pair, dialer: fleet.dialers[0]! };
}

afterEach(() => vi.restoreAllMocks());

describe('The streams of a dialer', () => {
  it('The streams of a dialer spread evenly over all agents of the cluster', async () => {
    const { fleet, open, dialsAt, dialer } = await fleetOf([undefined, undefined, undefined]);
    for (let at = 0; at < 60; at++) await open();
    expect(dialer.sessionCount).toBe(3);
    for (const dials of dialsAt()) expect(dials).toBeGreaterThanOrEqual(17);
    expect(fleet.transfers.map(({ dialed }) => dialed.events)).toEqual(
      fleet.transfers.map(() => ['opened']),
    );
  });

  it('The streams of a dialer with little load share one session, so that many clusters stay cheap', async () => {
    const { open, dialer } = await fleetOf([undefined, undefined]);
    for (let at = 0; at < spreadFromStreams; at++) await open();
    expect(dialer.sessionCount).toBe(1);
  });

  it('The streams of a dialer use no third agent while the second one has little load', async () => {
    const { open, dialer } = await fleetOf([undefined, undefined, undefined]);
    for (let at = 0; at < spreadFromStreams + 3; at++) await open();
    expect(dialer.sessionCount).toBe(2);
  });

  it('The streams of a dialer find an agent that connects later', async () => {
    const { fleet, open, dialer } = await fleetOf([undefined]);
    for (let at = 0; at < 2 * spreadFromStreams; at++) await open();
    expect(dialer.sessionCount).toBe(1);
    fleet.startAgent('agent-late');
    await fleet.clock.advance(dialLimits.askAgainMs);
    for (let at = 0; at < 4 * spreadFromStreams; at++) await open();
    expect(fleet.agent.dialedHosts.length).toBeGreaterThan(spreadFromStreams);
  });

  it('The streams of a dialer leave one session behind when they have ended', async () => {
    const { fleet, open, dialer } = await fleetOf([undefined, undefined]);
    for (let at = 0; at < 20; at++) await open();
    expect(dialer.sessionCount).toBe(2);
    for (const { dialed } of fleet.transfers) dialed.reset('cancelled');
    await fleet.clock.advance(3 * dialLimits.idleMs);
    expect(dialer.sessionCount).toBe(1);
  });

  it('The streams of a dialer prefer agents of its zone', async () => {
    const { open, dialsAt } = await fleetOf(['far', 'near', undefined], { zone: 'near' });
    for (let at = 0; at < 3 * spreadFromStreams; at++) await open();
    const [far, near, unknown] = dialsAt();
    expect(near).toBeGreaterThan(2 * (far! + unknown!));
  });

  it('The streams of a dialer use a distant agent if it is the only one', async () => {
    const { open, dialsAt } = await fleetOf(['far'], { zone: 'near' });
    expect((await open()).events).toEqual(['opened']);
    expect(dialsAt()).toEqual([1]);
  });
});

describe('A target that one agent cannot reach', () => {
  const fail = (code: TunnelErrorCode) => new TunnelError(code, 'no way from here');

  it.each(['unreachable', 'dns', 'forbidden_target', 'dial_failed', 'stream_limit'] as const)(
    'A target that one agent answers with %s is reached through another agent',
    async (code) => {
      const { fleet, open, pair, dialer } = await fleetOf([undefined, undefined]);
      await open();
      const { first, second } = pair();
      fleet.refuse = (agent, host) =>
        agent === first.id && host === 'db' ? fail(code) : undefined;
      expect((await open('db')).events).toEqual(['opened']);
      expect([first.dialedHosts.at(-1), second.dialedHosts]).toEqual(['db', ['db']]);
      expect(dialer.secondDialCount).toBe(1);
    },
  );

  it('A target that one agent cannot reach is dialed through the other agent at once the next time', async () => {
    const { fleet, open, pair } = await fleetOf([undefined, undefined]);
    await open();
    const { first, second } = pair();
    fleet.refuse = (agent, host) =>
      agent === first.id && host === 'db' ? fail('unreachable') : undefined;
    await open('db');
    expect((await open('db')).events).toEqual(['opened']);
    expect([first.dialedHosts.length, second.dialedHosts]).toEqual([2, ['db', 'db']]);
    // The memory ends, because networks are repaired.
    await fleet.clock.advance(dialLimits.unreachableMs);
    fleet.refuse = () => undefined;
    for (let at = 0; at < 4; at++) await open('db');
    expect(first.dialedHosts.length).toBeGreaterThan(2);
  });

  it('A target that no agent reaches ends with the last error, and is dialed once per dial from then on', async () => {
    const { fleet, open, agents } = await fleetOf([undefined, undefined]);
    await open();
    const total = () => agents.flatMap(({ dialedHosts }) => dialedHosts).length;
    const before = total();
    const answers: TunnelErrorCode[] = ['dns', 'unreachable', 'dns'];
    fleet.refuse = () => fail(answers.shift() ?? 'dns');
    expect((await open('db')).ending).toBe('unreachable');
    expect((await open('db')).ending).toBe('dns');
    expect(total()).toBe(before + 3);
  });

  it('A target that refuses the connection is not dialed through another agent', async () => {
    const { fleet, open, dialer } = await fleetOf([undefined, undefined]);
    fleet.refuse = () => fail('refused');
    expect((await open('db')).ending).toBe('refused');
    expect(dialer.secondDialCount).toBe(0);
  });

  it('A target that the only agent cannot reach ends with its error, without a wait', async () => {
    const { fleet, open, dialer } = await fleetOf([undefined]);
    fleet.refuse = () => fail('unreachable');
    expect((await open('db')).ending).toBe('unreachable');
    expect([dialer.secondDialCount, dialer.sessionCount]).toEqual([0, 1]);
  });

  it('A target keeps the error of the first agent if the second agent is gone', async () => {
    const { fleet, open, pair, agents } = await fleetOf([undefined, undefined]);
    await open();
    const { first, second } = pair();
    second.kill();
    await fleet.clock.advance(100);
    fleet.refuse = () => fail('unreachable');
    expect((await open('db')).closes[0]).toMatchObject({ message: 'no way from here' });
    expect([first.dialedHosts.at(-1), agents.length]).toEqual(['db', 2]);
  });
});

describe('A dialer and its broker', () => {
  const welcomeTo = (agent: string, more: object = {}) =>
    encodeMessage({ ...protocolVersion, replica: 'r1', session: sessionNumber, agent, ...more });

  const loaded = async (first: Uint8Array) => {
    const played = playedDialer();
    played.open();
    await played.linked(1);
    await played.say(FrameType.welcome, first, 0);
    for (let at = 0; at < 2 * spreadFromStreams; at++) played.open();
    await played.clock.advance(0);
    return played;
  };

  it('A dialer asks a broker for an agent that it has no session with', async () => {
    const { links } = await loaded(welcomeTo('agent-a', { instance: 'one', otherAgents: 1 }));
    expect(links).toHaveLength(2);
    const hello = decodeHello((await links[1]!.next(FrameType.hello)).payload);
    expect(hello.excludedAgents).toEqual(['agent-a@one']);
  });

  it('A dialer has one session per cluster at a broker before protocol 1.3', async () => {
    const { links, clock, open } = await loaded(welcomeTo('agent-a'));
    await clock.advance(60_000);
    open();
    await clock.advance(0);
    expect(links).toHaveLength(1);
  });

  it('A dialer gives up a further session with an agent that it has reached already', async () => {
    const { links, clock, say, dialer, open } = await loaded(
      welcomeTo('agent-a', { otherAgents: 1 }),
    );
    await say(FrameType.welcome, welcomeTo('agent-a', { otherAgents: 1 }), 0);
    await clock.advance(0);
    expect([dialer.sessionCount, links[1]!.ended !== undefined]).toEqual([1, true]);
    open();
    await clock.advance(0);
    expect(links).toHaveLength(2);
    dialer.close();
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('A dial while no broker answers', () => {
  it('A dial waits for as long as its own time allows, however long earlier dials have waited', async () => {
    const { fleet, open } = await fleetOf([undefined]);
    fleet.replicas[0]!.kill();
    const early = await open();
    await fleet.clock.advance(7_500);
    const late = await open();
    await fleet.clock.advance(1_500);
    fleet.replicas[0]!.start();
    await fleet.clock.advance(3_000);
    expect([early.ending, late.events]).toEqual(['link_lost', ['opened']]);
  });

  it('A dial that waits ends when the dialer is closed, and leaves nothing', async () => {
    const { fleet, open, dialer } = await fleetOf([undefined]);
    fleet.replicas[0]!.kill();
    const dialed = await open();
    dialer.close();
    await fleet.clock.advance(0);
    expect([dialed.ending, dialer.sessionCount]).toEqual(['link_lost', 0]);
  });
});
