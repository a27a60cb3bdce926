import { relayLimits } from '../../src/broker/relay-options.ts';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Fleet, type Transfer } from '../../testkit/world/simulated-fleet.ts';

const nothing = { bytes: 0, end: 'nothing' } as const;
const forEver = 1e9;

async function makeFleet(shape: Partial<{ replicas: number; tunnels: number }> = {}) {
  const fleet = new Fleet(11, { replicas: 2, tunnels: 1, dialers: 1, ...shape });
  vi.spyOn(Math, 'random').mockImplementation(fleet.random);
  await fleet.clock.advance(200);
  return fleet;
}

function endings(transfers: readonly Transfer[]): (string | undefined)[] {
  return transfers.map(({ dialed }) => dialed.ending);
}

afterEach(() => vi.restoreAllMocks());

/** The same failures on real processes: test/chaos/failure-classes.full.test.ts. */
describe('Failure classes at the dialer', () => {
  it('tunnel gone while the replica lives: a dial fails with no_agent long before its timeout', async () => {
    const fleet = await makeFleet();
    fleet.agent.kill();
    await fleet.clock.advance(100);
    const transfers = [fleet.open(0, nothing, nothing), fleet.open(0, nothing, nothing)];
    // The agent might return within 5 s of its loss.
    await fleet.clock.advance(4_500);
    expect(endings(transfers)).toEqual([undefined, undefined]);
    await fleet.clock.advance(500);
    expect(endings(transfers)).toEqual(['no_agent', 'no_agent']);
    expect(fleet.dialers[0]!.sessionCount).toBe(0);
  });

  it('dials that pile up: all dials to an agent that hangs end with timeout and leave nothing behind', async () => {
    const fleet = await makeFleet();
    const before = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(200);
    expect(before.dialed.events).toEqual(['opened']);
    fleet.agentLinks.at(-1)!.silence(forEver, forEver);
    const transfers = Array.from({ length: 50 }, () => fleet.open(0, nothing, nothing));
    await fleet.clock.advance(11_900);
    expect(new Set(endings(transfers))).toEqual(new Set([undefined]));
    await fleet.clock.advance(200);
    expect(new Set(endings(transfers))).toEqual(new Set(['timeout']));
    expect(fleet.dialers[0]!.streamCount).toBe(1);
    // The agent's system closes the hung connections. Its process continues to run.
    fleet.agentLinks.at(-1)!.cut();
    await fleet.clock.advance(2_000);
    const after = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(500);
    expect(after.dialed.events).toEqual(['opened']);
    expect(before.dialed.closes).toEqual([]);
  });

  it('stale presence: a dial finds the agent though the directory names a dead replica first', async () => {
    const fleet = await makeFleet({ replicas: 3, tunnels: 2 });
    const [owner, dead, entrance] = fleet.replicas;
    // Newest first, and the newest replica dies.
    expect(fleet.directory.locate('c1').map(({ replica }) => replica)).toEqual(['r1', 'r0']);
    owner!.open = false;
    dead!.kill();
    const transfer = fleet.open(0, nothing, nothing);
    while (entrance!.relay!.dialerCount === 0) await fleet.clock.advance(1);
    expect(fleet.directory.claimsOf('r1')).toHaveLength(1);
    await fleet.clock.advance(400);
    expect(transfer.dialed.events).toEqual(['opened']);
    // The dial takes one hop through the entry replica.
    expect([entrance!.relay!.dialerCount, owner!.relay!.dialerCount]).toEqual([1, 1]);
  });

  it('duplicate registration: the newer tunnel of an agent wins at once, while the older tunnel is still open', async () => {
    const fleet = await makeFleet();
    const [first, second] = fleet.replicas;
    fleet.agentLinks.at(-1)!.silence(forEver, forEver);
    fleet.agent.close();
    expect(first!.relay!.agentCount).toBe(1);
    first!.open = false;
    fleet.startAgent('agent-a');
    await fleet.clock.advance(200);
    const transfer = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(500);
    expect(transfer.dialed.events).toEqual(['opened']);
    expect(transfer.accepted).toHaveLength(1);
    // The older tunnel is probed, and its process does not answer.
    await fleet.clock.advance(relayLimits.livenessTimeoutMs);
    expect([first!.relay!.agentCount, second!.relay!.agentCount]).toEqual([0, 1]);
    expect(fleet.directory.locate('c1').map(({ replica }) => replica)).toEqual(['r1']);
  });

  it('lost stdin EOF: a half-close on a dead network arrives later, and so does the answer', async () => {
    const fleet = await makeFleet();
    const transfer = fleet.open(0, nothing, nothing);
    await fleet.clock.advance(300);
    const link = fleet.dialerLinks.at(-1)!;
    link.silence(forEver, forEver);
    transfer.dialed.send({ bytes: 5_000, end: 'fin' });
    await fleet.clock.advance(5_000);
    const [accepted] = transfer.accepted;
    expect(accepted!.events).not.toContain('fin');
    link.cut();
    await fleet.clock.advance(2_000);
    expect(accepted!.events).toContain('fin');
    expect(accepted).toMatchObject({ receivedBytes: 5_000, firstWrongByte: undefined });
    accepted!.send({ bytes: 100_000 });
    await fleet.clock.advance(2_000);
    expect(transfer.dialed).toMatchObject({ receivedBytes: 100_000, ending: 'ok' });
  });
});
