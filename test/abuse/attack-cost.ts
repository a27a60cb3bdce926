import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from '../../testkit/processes/process.ts';

const sampleMs = 20;
const pageBytes = 4096;
/** `sysconf(_SC_CLK_TCK)` of every Linux that Node runs on. */
const ticksPerSecond = 100;

/** The cost of an attack for a process and for the honest peers beside the attacker. */
export interface AttackCost {
  /** How much larger the resident memory was at its highest than before, in bytes. */
  readonly grownBytes: number;
  /** CPU time that the process used during the attack, in seconds. */
  readonly cpuSeconds: number;
  /** The longest time that an honest request took during the attack, in milliseconds. */
  readonly longestProbeMs: number;
  /** Honest requests that failed during the attack, with their messages. */
  readonly failedProbes: readonly string[];
  /** Honest requests that succeeded during the attack. */
  readonly goodProbes: number;
}

/** Resident memory of a process, in bytes (Linux). */
export async function residentBytes({ pid }: Program): Promise<number> {
  const [, pages] = (await readFile(`/proc/${pid}/statm`, 'utf8')).split(' ');
  return Number(pages) * pageBytes;
}

/** CPU time that a process has used, in seconds (Linux). */
export async function usedCpuSeconds({ pid }: Program): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The program's name, in parentheses, may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/**
 * Runs `attack` and measures `program` meanwhile. An honest request (`probe`) runs beside the attack again and again, one at a time,
 * so a blocked event loop shows as a long one. At least one request is made after the attack has begun.
 */
export async function costOfAttack(
  program: Program,
  attack: () => Promise<unknown>,
  probe: () => Promise<unknown>,
): Promise<AttackCost> {
  await probe();
  const before = await residentBytes(program);
  const cpuBefore = await usedCpuSeconds(program);
  const failedProbes: string[] = [];
  let highest = before;
  let longestProbeMs = 0;
  let goodProbes = 0;
  const over = new AbortController();
  const watchMemory = async (): Promise<void> => {
    while (!over.signal.aborted) {
      highest = Math.max(highest, await residentBytes(program));
      await sleep(sampleMs);
    }
  };
  const beHonest = async (): Promise<void> => {
    do {
      const startedAtMs = performance.now();
      try {
        await probe();
        goodProbes++;
      } catch (thrown) {
        failedProbes.push(thrown instanceof Error ? thrown.message : String(thrown));
      }
      longestProbeMs = Math.max(longestProbeMs, performance.now() - startedAtMs);
      await sleep(sampleMs);
    } while (!over.signal.aborted);
  };
  const watching = Promise.all([watchMemory(), beHonest()]);
  try {
    await attack();
  } finally {
    over.abort();
    await watching;
  }
  const cpuSeconds = (await usedCpuSeconds(program)) - cpuBefore;
  return { grownBytes: highest - before, cpuSeconds, longestProbeMs, failedProbes, goodProbes };
}
