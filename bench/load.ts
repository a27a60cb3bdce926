import { setTimeout as sleep } from 'node:timers/promises';
import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { startProgram } from '../testkit/processes/process.ts';
import { cpuSeconds } from './cpu.ts';
import type { Peer } from './peers.ts';

const gib = 1024 ** 3;
const quietPollMs = 250;
const quietCpuShare = 0.1;
const maxQuietPolls = 80;

/** The results of one run of the load generator, with CPU time of the same window. */
export interface LoadResult {
  readonly mbPerSecond: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly serverCpuPerGib: number;
  readonly agentCpuPerGib: number;
  /** CPU seconds per GiB of all processes of the tunnel. */
  readonly cpuPerGib: number;
  /** CPU seconds per GiB of the load generator, which shares the machine with the tunnel. */
  readonly clientCpuPerGib: number;
  readonly targetCpuPerGib: number;
}

interface Done {
  readonly bytes?: number;
  readonly cpuSeconds?: number;
  readonly mbPerSecond?: number;
  readonly p50Micros?: number;
  readonly p99Micros?: number;
}

/** Runs the load generator through `peer` and samples CPU while the load is steady. */
export async function runLoad(
  go: GoPrograms,
  peer: Peer,
  command: string,
  args: readonly string[],
): Promise<LoadResult> {
  await using load = startProgram({
    command: go.load,
    args: [command, ...flagsOf(peer, command), ...args],
    name: `load ${command} through ${peer.name}`,
  });
  await load.waitForLine(/"event":"steady"/);
  const targetPids = peer.targetPid === undefined ? [] : [peer.targetPid];
  const sample = () => [peer.serverPids, peer.agentPids, targetPids].map(cpuSeconds);
  const before = sample();
  const [line] = await load.waitForLine(/.*"event":"done".*/, { timeoutMs: 60_000 });
  const after = sample();
  const done = JSON.parse(line) as Done;
  const perGib = (seconds: number): number =>
    done.bytes && seconds > 0 ? seconds / (done.bytes / gib) : Number.NaN;
  const [serverSeconds = 0, agentSeconds = 0, targetSeconds = 0] = after.map(
    (seconds, index) => seconds - before[index]!,
  );
  return {
    mbPerSecond: done.mbPerSecond ?? Number.NaN,
    p50Micros: done.p50Micros ?? Number.NaN,
    p99Micros: done.p99Micros ?? Number.NaN,
    serverCpuPerGib: perGib(serverSeconds),
    agentCpuPerGib: perGib(agentSeconds),
    cpuPerGib: perGib(serverSeconds + agentSeconds),
    clientCpuPerGib: perGib(done.cpuSeconds ?? 0),
    targetCpuPerGib: perGib(targetSeconds),
  };
}

function flagsOf({ loadFlags, dialFlags = loadFlags }: Peer, command: string): readonly string[] {
  return command === 'dial' ? dialFlags : loadFlags;
}

/** Waits until the peer's processes have finished with the streams of a run that has ended. */
export async function untilQuiet({ serverPids, agentPids }: Peer): Promise<void> {
  const pids = [...serverPids, ...agentPids];
  for (let poll = 0, before = cpuSeconds(pids); poll < maxQuietPolls; poll++) {
    await sleep(quietPollMs);
    const now = cpuSeconds(pids);
    if (now - before <= (quietCpuShare * quietPollMs) / 1000) return;
    before = now;
  }
}
