import {
  activeTimers,
  brokerStatuses,
  directoryTunnels,
  liveTunnels,
  ownSockets,
  untilHolds,
  type SocketCounts,
} from './resources.ts';
import type { ChaosWorld } from './world.ts';

/**
 * Agents come back after a pause that may have grown; a claim of a dead broker expires after half a
 * minute.
 */
const settleLimitMs = 70_000;

/** The differences from the state before the load, in sentences. */
export async function checkLeaks(world: ChaosWorld, baseline: SocketCounts): Promise<string[]> {
  const checks: (() => Promise<string | undefined>)[] = [
    () => everyAgentIsThere(world),
    () => directoryIsRight(world),
    () => socketsAreBack(world, baseline),
    async () =>
      world.dialer.streamCount === 0
        ? undefined
        : `the dialer still has ${world.dialer.streamCount} streams`,
    async () => sessionsAreFew(world),
    () => timersAreFew(world),
  ];
  const complaints: string[] = [];
  for (const check of checks) {
    const complaint = await untilHolds(check, settleLimitMs);
    if (complaint !== undefined) complaints.push(complaint);
  }
  return complaints;
}

/**
 * A dialer needs one session for each cluster; those that lost their links and were replaced must
 * not stay.
 */
function sessionsAreFew(world: ChaosWorld): string | undefined {
  const most = world.clusters.length;
  const links = world.dialers[0]!.network.openCount;
  if (world.dialer.sessionCount <= most && links <= most) return undefined;
  return `for ${most} clusters the dialer has ${world.dialer.sessionCount} sessions, the bridge ${links} links`;
}

/** Checks that a broker has few timers: a few of its own, and some for each link. */
async function timersAreFew(world: ChaosWorld): Promise<string | undefined> {
  for (const [at, { dialers, clusters }] of (await brokerStatuses(world.fleet)).entries()) {
    const tunnels = clusters.reduce((sum, { agents }) => sum + agents.length, 0);
    const timers = await activeTimers(world.fleet.brokers[at]!);
    const most = 20 + 6 * (tunnels + dialers);
    if (timers > most) {
      return `broker ${at} has ${timers} timers for ${tunnels} tunnels and ${dialers} sessions, more than ${most}`;
    }
  }
  return undefined;
}

async function everyAgentIsThere(world: ChaosWorld): Promise<string | undefined> {
  const tunnels = liveTunnels(await brokerStatuses(world.fleet));
  const absent = world.agents.filter(
    ({ id, cluster }) => !tunnels.some((name) => name.startsWith(`${cluster}/${id}@`)),
  );
  return absent.length === 0
    ? undefined
    : `no broker holds a tunnel of ${absent.map(({ id }) => id).join(', ')}`;
}

async function directoryIsRight(world: ChaosWorld): Promise<string | undefined> {
  const live = liveTunnels(await brokerStatuses(world.fleet));
  const told = await directoryTunnels(world.redis.port);
  return live.join() === told.join()
    ? undefined
    : `the directory tells ${told.join(', ')}, the brokers hold ${live.join(', ')}`;
}

async function socketsAreBack(
  world: ChaosWorld,
  baseline: SocketCounts,
): Promise<string | undefined> {
  const now = await ownSockets(world);
  const [before, after] = [JSON.stringify(baseline), JSON.stringify(now)];
  return before === after
    ? undefined
    : `sockets beyond tunnels and sessions were ${before} and are ${after}`;
}
