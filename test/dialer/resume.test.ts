import { afterEach, describe, expect, it, vi } from 'vitest';
import { relayLimits } from '../../src/broker/relay-options.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeHello, encodeMessage } from '../../src/tunnel/message.ts';
import { Fleet } from '../../testkit/world/simulated-fleet.ts';

const nothing = { bytes: 0, end: 'nothing' } as const;

/** A fleet with one stream that stays open. */
async function withStream({
  seed = 7,
  ...shape
}: Partial<{ seed: number; replicas: number; tunnels: number }> = {}) {
  const fleet = new Fleet(seed, { replicas: 2, tunnels: 1, dialers: 1, ...shape });
  vi.spyOn(Math, 'random').mockImplementation(fleet.random);
  await fleet.clock.advance(100);
  const transfer = fleet.open(0, nothing, nothing);
  await fleet.clock.advance(300);
  expect(transfer.dialed.events).toEqual(['opened']);
  return { fleet, transfer, dialer: fleet.dialers[0]! };
}

/** An intruder sends HELLO with these fields. Returns the fate of the link. */
async function intrude(fleet: Fleet, name: string, hello: object): Promise<object> {
  const [near, far] = fleet.link([]);
  const seen: { frames: string[]; code: string | undefined } = { frames: [], code: undefined };
  const owner = {
    onData: () => void seen.frames.push('data'),
    onFrame: (type: FrameType) => {
      if (type !== FrameType.welcome) seen.frames.push(`frame ${type}`);
    },
    pull() {},
    onClose: (error: TunnelError | undefined) => void (seen.code = error?.code),
  };
  near.attach(owner);
  fleet.anyReplica(0)!.relay!.admit(far, { kind: 'dialer', cluster: 'c1', dialer: name });
  near.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  await fleet.clock.advance(1_000);
  return seen;
}

afterEach(() => vi.restoreAllMocks());

describe('A dialer whose link is lost', () => {
  it('A dialer whose link is lost reconnects by itself, and counts the resumes and their gaps', async () => {
    const { fleet, transfer, dialer } = await withStream();
    fleet.dialerLinks.at(-1)!.cut();
    await fleet.clock.advance(2_000);
    transfer.dialed.send({ bytes: 1_000 });
    await fleet.clock.advance(1_000);
    expect(transfer.accepted[0]).toMatchObject({ receivedBytes: 1_000, firstWrongByte: undefined });
    expect(dialer.resumedCount).toBe(1);
    expect(dialer.resumeGapMs).toBeGreaterThan(0);
    expect(dialer.resumeGapMs).toBeLessThan(1_000);
  });

  it('A dialer whose link is lost opens new streams in another session, and keeps the old session while it has streams', async () => {
    const { fleet, transfer, dialer } = await withStream();
    fleet.dialerLinks.at(-1)!.cut();
    const second = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(2_000);
    expect(second.dialed.events).toEqual(['opened']);
    expect(dialer.sessionCount).toBe(2);
    transfer.dialed.reset('cancelled');
    await fleet.clock.advance(1_000);
    expect(dialer.sessionCount).toBe(1);
    expect(second.dialed.closes).toEqual([]);
    expect(fleet.agent.sessions.size).toBe(1);
  });

  it('A dialer that is closed while it reconnects closes the new link as well', async () => {
    const { fleet, dialer } = await withStream({ replicas: 1 });
    fleet.dialerLinks.at(-1)!.cut();
    const links = fleet.dialerLinks.length;
    while (fleet.dialerLinks.length === links) await fleet.clock.advance(1);
    dialer.close();
    await fleet.clock.advance(1_000);
    expect(fleet.replicas[0]!.relay!.dialerCount).toBe(0);
  });

  it('half-dead TCP: the dialer finds a dead link one ping after a dial timed out, and later dials use another link', async () => {
    const { fleet, transfer, dialer } = await withStream();
    fleet.dialerLinks.at(-1)!.silence(60_000, 60_000);
    const lost = fleet.open(0, nothing, nothing, 10_000);
    await fleet.clock.advance(12_100);
    expect(lost.dialed.ending).toBe('timeout');
    await fleet.clock.advance(20_500);
    const next = fleet.open(0, nothing, nothing, 10_000);
    await fleet.clock.advance(1_000);
    expect(next.dialed.events).toEqual(['opened']);
    expect(dialer.resumedCount).toBe(1);
    expect(transfer.dialed.closes).toEqual([]);
  });

  it('A dialer gives up after 30 s without a broker, with the code of the loss', async () => {
    const { fleet, transfer } = await withStream();
    for (const replica of fleet.replicas) replica.kill();
    await fleet.clock.advance(29_900);
    expect(transfer.dialed.closes).toEqual([]);
    await fleet.clock.advance(200);
    expect(transfer.dialed.ending).toBe('link_lost');
    expect(transfer.accepted[0]!.ending).toBe('link_lost');
    expect(fleet.agent.sessions.size).toBe(0);
    expect(fleet.dialers[0]!.sessionCount).toBe(0);
  });

  it('A dialer gives up after 10 s if the agent is dead and no other agent replaces it', async () => {
    const { fleet, transfer } = await withStream();
    fleet.agent.kill();
    await fleet.clock.advance(9_900);
    expect(transfer.dialed.closes).toEqual([]);
    await fleet.clock.advance(300);
    expect(transfer.dialed.ending).toBe('agent_lost');
  });

  it('A dialer waits longer than 10 s for a lost agent while no broker takes sessions, because the agent cannot return either', async () => {
    const { fleet, transfer } = await withStream({ replicas: 1 });
    fleet.agentLinks.at(-1)!.cut();
    await fleet.clock.advance(30);
    fleet.replicas[0]!.kill();
    await fleet.clock.advance(12_000);
    expect(transfer.dialed.closes).toEqual([]);
    fleet.replicas[0]!.start();
    await fleet.clock.advance(4_000);
    transfer.dialed.send({ bytes: 1_000 });
    await fleet.clock.advance(1_000);
    expect(transfer.accepted[0]).toMatchObject({ receivedBytes: 1_000, closes: [] });
  });

  it('A dialer gives up after 2 s if the agent is dead and another agent is connected, and new dials use that agent at once', async () => {
    const { fleet, transfer } = await withStream();
    const dead = fleet.agent;
    fleet.startAgent('agent-b');
    await fleet.clock.advance(2_000);
    dead.kill();
    await fleet.clock.advance(100);
    const next = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(300);
    expect(next.dialed.events).toEqual(['opened']);
    expect(transfer.dialed.closes).toEqual([]);
    await fleet.clock.advance(1_800);
    expect(transfer.dialed.ending).toBe('agent_lost');
  });

  it.each([
    ['at its first attempt', 500],
    ['after a failed attempt', 1_500],
  ])(
    'A dialer keeps the streams of a live agent that is back %s after a cut, while another agent is connected',
    async (_when, agentDelayMs) => {
      for (let seed = 1; seed <= 200; seed++) {
        const { fleet, transfer } = await withStream({ seed });
        const links = fleet.agentLinks.length;
        fleet.startAgent('agent-b');
        await fleet.clock.advance(2_000);
        fleet.agentDelayMs = agentDelayMs;
        for (const link of fleet.agentLinks.slice(0, links)) link.cut();
        await fleet.clock.advance(6_000);
        expect(transfer.dialed.closes).toEqual([]);
      }
    },
  );

  it('A dialer keeps the streams of agents that were all cut off together, in any order of their return', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { fleet, transfer } = await withStream({ seed });
      fleet.startAgent('agent-b');
      await fleet.clock.advance(2_000);
      for (const link of fleet.agentLinks) link.cut();
      await fleet.clock.advance(6_000);
      expect(transfer.dialed.closes).toEqual([]);
    }
  });

  it('A dialer gives up after 2 s if the agent has been restarted and is connected again', async () => {
    const { fleet, transfer, dialer } = await withStream();
    fleet.agent.kill();
    fleet.startAgent('agent-a');
    await fleet.clock.advance(2_500);
    expect(transfer.dialed.ending).toBe('agent_lost');
    expect(dialer.sessionCount).toBe(0);
  });

  it('A dialer starts a new session if the agent is new and no stream was answered yet', async () => {
    const fleet = new Fleet(7, { replicas: 1, tunnels: 1, dialers: 1 });
    await fleet.clock.advance(100);
    vi.spyOn(Math, 'random').mockImplementation(fleet.random);
    const transfer = fleet.open(0, nothing, nothing);
    while (fleet.dialers[0]!.streamCount === 1 && fleet.agent.accepted.length === 0) {
      await fleet.clock.advance(1);
    }
    fleet.agent.kill();
    fleet.startAgent('agent-a');
    await fleet.clock.advance(3_000);
    expect(transfer.dialed.events).toEqual(['opened']);
    expect(transfer.accepted).toHaveLength(2);
  });
});

describe('A broker that drains', () => {
  it('wrong shutdown order: a broker that drains hands its sessions to another broker, once, before its links close', async () => {
    const { fleet, transfer, dialer } = await withStream({ tunnels: 2 });
    const replica = fleet.replicas.find(({ relay }) => relay!.dialerCount > 0)!;
    const links = fleet.dialerLinks.length;
    void replica.drain(10_000);
    // The agents of this fleet do not leave by themselves, so the drain takes its maximum time.
    await fleet.clock.advance(relayLimits.agentsLeaveMs + 1_000);
    expect(replica.relay).toBeUndefined();
    expect(dialer.resumedCount).toBe(1);
    expect(dialer.resumeGapMs).toBeLessThan(100);
    expect(fleet.dialerLinks).toHaveLength(links + 1);
    expect(transfer.dialed.closes).toEqual([]);
  });
});

describe('An intruder who knows the name of a session', () => {
  it.each([
    ['resumes it', 'mallory', true, 'forbidden'],
    ['takes it for a new one', 'mallory', false, 'unknown_session'],
    ['guesses another', 'd0', true, 'unknown_session'],
  ])(
    'An intruder who %s is refused, and the session continues',
    async (what, name, resumes, code) => {
      const { fleet, transfer } = await withStream();
      const [hello] = fleet.dialerLinks.at(-1)!.sent;
      const own = decodeHello(hello!.control!);
      const session = what.startsWith('guesses') ? 'f'.repeat(32) : own.session;
      const stolen = { ...own, session, ...(resumes ? { resume: 'agent-a' } : {}) };
      expect(await intrude(fleet, name, stolen)).toEqual({ frames: [], code });
      transfer.dialed.send({ bytes: 1_000 });
      await fleet.clock.advance(1_000);
      expect(transfer.accepted[0]!.receivedBytes).toBe(1_000);
      expect(fleet.dialers[0]!.resumedCount).toBe(0);
    },
  );
});
