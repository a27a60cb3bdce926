import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { json, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { processOfTunnelKey } from '../../src/broker/tunnel-name.ts';
import type { BrokerStatus } from '../../src/broker/status.ts';
import { openSockets } from '../processes/open-files.ts';
import type { Fleet, FleetProgram } from '../world/fleet.ts';
import type { Program } from '../processes/process.ts';
import type { ChaosWorld } from './world.ts';

const kib = 1024;

/** Resident memory of a process, in bytes; undefined when it is gone. */
export async function residentBytes(program: Program): Promise<number | undefined> {
  const status = await readFile(`/proc/${program.pid}/status`, 'utf8').catch(() => '');
  const value = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1];
  return value === undefined ? undefined : Number(value) * kib;
}

/** Samples the memory of processes while a run lasts. */
export class MemorySampler {
  readonly #samples = new Map<
    string,
    { readonly pid: number; readonly points: [ms: number, bytes: number][] }
  >();

  async sample(programs: Iterable<readonly [name: string, program: Program]>): Promise<void> {
    const nowMs = performance.now();
    for (const [name, program] of programs) {
      const bytes = await residentBytes(program);
      if (bytes === undefined) continue;
      const before = this.#samples.get(name);
      const series = before?.pid === program.pid ? before : { pid: program.pid, points: [] };
      series.points.push([nowMs, bytes]);
      this.#samples.set(name, series);
    }
  }

  /**
   * For each process: how large it is, and how fast it grows, in MiB and MiB per minute, over the
   * later two thirds of its life.
   */
  *slopes(): Iterable<{
    readonly name: string;
    readonly mib: number;
    readonly mibPerMinute: number;
    readonly seconds: number;
  }> {
    for (const [name, { points }] of this.#samples) {
      const late = points.slice(Math.floor(points.length / 3));
      if (late.length < 3) continue;
      const mean = (at: 0 | 1): number =>
        late.reduce((sum, point) => sum + point[at], 0) / late.length;
      const [meanMs, meanBytes] = [mean(0), mean(1)];
      let products = 0;
      let squares = 0;
      for (const [ms, bytes] of late) {
        products += (ms - meanMs) * (bytes - meanBytes);
        squares += (ms - meanMs) ** 2;
      }
      yield {
        name,
        mib: late.at(-1)![1] / kib ** 2,
        mibPerMinute: (products / squares) * (60_000 / kib ** 2),
        seconds: (late.at(-1)![0] - late[0]![0]) / 1000,
      };
    }
  }
}

const statusRetryMs = 200;

/** A tunnel as a broker or Redis knows it: `cluster/agent@replica`. */
function tunnelName(cluster: string, agent: string, replica: string): string {
  return `${cluster}/${agent}@${replica}`;
}

export async function brokerStatuses({ tokens, brokers }: Fleet): Promise<BrokerStatus[]> {
  const token = await tokens.issue({ kind: 'dialer', name: 'watcher' });
  return await Promise.all(
    brokers.map(async ({ port }) => {
      for (;;) {
        const options = { host: '127.0.0.1', port, path: '/v1/status', agent: false };
        const asking = get({ ...options, headers: { Authorization: `Bearer ${token}` } });
        const [answer] = (await once(asking, 'response')) as [IncomingMessage];
        const body: unknown = await json(answer);
        // Waits until the socket is closed, so that it is not counted.
        if (!answer.closed) await once(answer, 'close');
        if (answer.statusCode === 200) return body as BrokerStatus;
        // The request counts against the accept rate, which the tests use up.
        if (answer.statusCode !== 503) throw new Error(`/v1/status: ${answer.statusCode}`);
        await sleep(statusRetryMs);
      }
    }),
  );
}

/** The active timers of a broker's process, from its metrics. */
export async function activeTimers({ port }: FleetProgram): Promise<number> {
  const asking = get({ host: '127.0.0.1', port, path: '/metrics', agent: false });
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  const metrics = await text(answer);
  if (!answer.closed) await once(answer, 'close');
  if (!metrics.includes('nodejs_active_resources{')) throw new Error('no metric of resources');
  return Number(/^nodejs_active_resources\{type="Timeout"\} (\d+)$/m.exec(metrics)?.[1] ?? 0);
}

/** The tunnels that brokers hold. */
export function liveTunnels(statuses: readonly BrokerStatus[]): string[] {
  return statuses
    .flatMap(({ replica, clusters }) =>
      clusters.flatMap(({ cluster, agents }) =>
        agents.map(({ agent }) => tunnelName(cluster, agent, replica)),
      ),
    )
    .sort();
}

/** The tunnels that Redis has. */
export async function directoryTunnels(port: number): Promise<string[]> {
  const redis = new Redis({ port, host: '127.0.0.1' });
  try {
    const names: string[] = [];
    const [seconds] = await redis.time();
    for (const key of await redis.keys('culvert:{cluster-*}')) {
      for (const [field, value] of Object.entries(await redis.hgetall(key))) {
        const process = processOfTunnelKey(field);
        const [, expiry, text] = /^\d+ (\d+) \w+ (\{.*\})$/s.exec(value) ?? [];
        if (process === undefined || text === undefined || Number(expiry) < Number(seconds) * 1000)
          continue;
        const { cluster, replica } = JSON.parse(text) as Record<'cluster' | 'replica', string>;
        names.push(tunnelName(cluster, process.agent, replica));
      }
    }
    return names.sort();
  } finally {
    redis.disconnect();
  }
}

/**
 * How many sockets each process has beyond those of its tunnels and sessions: the same before and
 * after, or something leaks.
 */
export interface SocketCounts {
  readonly brokers: number;
  readonly bridge: number;
  readonly agents: Readonly<Record<string, number>>;
}

export async function ownSockets(world: ChaosWorld): Promise<SocketCounts> {
  const statuses = await brokerStatuses(world.fleet);
  const tunnels = liveTunnels(statuses);
  const open = await Promise.all(world.fleet.brokers.map(({ program }) => openSockets(program)));
  const sessions = statuses.reduce((sum, { dialers }) => sum + dialers, 0);
  // A session that enters at another replica than its agent's is counted at both, and its hop has a
  // socket at either end.
  const entered = world.dialer.sessionCount + (await bridgeSessions(world));
  const ofLinks = tunnels.length + sessions + (sessions - entered);
  const agents = await Promise.all(
    world.agents.map(async ({ id, cluster, program }) => {
      const own = tunnels.filter((name) => name.startsWith(`${cluster}/${id}@`)).length;
      return [id, (await openSockets(program)) - own] as const;
    }),
  );
  return {
    brokers: open.reduce((sum, count) => sum + count, 0) - ofLinks,
    bridge: (await openSockets(world.fleet.bridge.program)) - (await bridgeSessions(world)),
    agents: Object.fromEntries(agents),
  };
}

/**
 * The counts once they say the same several times in a row; an agent may wait a minute for its
 * second tunnel.
 */
export async function settledSockets(world: ChaosWorld): Promise<SocketCounts> {
  let counts = await ownSockets(world);
  let repeats = 0;
  const complaint = await untilHolds(async () => {
    const now = await ownSockets(world);
    repeats = JSON.stringify(now) === JSON.stringify(counts) ? repeats + 1 : 0;
    counts = now;
    return repeats >= 4 ? undefined : `sockets come and go: ${JSON.stringify(now)}`;
  }, 30_000);
  if (complaint !== undefined) throw new Error(`the world does not settle: ${complaint}`);
  return counts;
}

/** Links from the bridge to the brokers, by what its network sees. */
async function bridgeSessions(world: ChaosWorld): Promise<number> {
  return world.dialers[0]!.network.openCount;
}

/** Polls until `check` returns no problems. Returns its last problems after `limitMs`. */
export async function untilHolds(
  check: () => Promise<string | undefined>,
  limitMs: number,
): Promise<string | undefined> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const complaint = await check();
    if (complaint === undefined || performance.now() > deadlineMs) return complaint;
    await sleep(250);
  }
}
