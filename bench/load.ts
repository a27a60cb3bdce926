import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { startProgram } from '../testkit/processes/process.ts';
import { cpuSeconds } from './cpu.ts';
import type { Peer } from './peers.ts';

const gib = 1024 ** 3;

/** The results of one run of the load generator, with CPU time of the same window. */
export interface LoadResult {
  readonly mbPerSecond: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly serverCpuPerGib: number;
  readonly agentCpuPerGib: number;
}

interface Done {
  readonly bytes?: number;
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
    args: [command, ...peer.loadFlags, ...args],
    name: `load ${command} through ${peer.name}`,
  });
  await load.waitForLine(/"event":"steady"/, { timeoutMs: 10_000 });
  const sample = () => [cpuSeconds(peer.serverPids), cpuSeconds(peer.agentPids)] as const;
  const before = sample();
  const [line] = await load.waitForLine(/.*"event":"done".*/, { timeoutMs: 60_000 });
  const after = sample();
  const done = JSON.parse(line) as Done;
  const perGib = (seconds: number): number =>
    done.bytes ? seconds / (done.bytes / gib) : Number.NaN;
  return {
    mbPerSecond: done.mbPerSecond ?? Number.NaN,
    p50Micros: done.p50Micros ?? Number.NaN,
    p99Micros: done.p99Micros ?? Number.NaN,
    serverCpuPerGib: perGib(after[0] - before[0]),
    agentCpuPerGib: perGib(after[1] - before[1]),
  };
}
