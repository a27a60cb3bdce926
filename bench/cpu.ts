import { readFileSync } from 'node:fs';

// Linux counts CPU time of processes in hundredths of a second, whatever the kernel's own tick is.
const ticksPerSecond = 100;
const utimeField = 13;

/** User and system seconds that the processes have used since they started. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The program's name may hold spaces and parentheses. Fields are counted after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[utimeField - 2]) + Number(fields[utimeField - 1]);
  }
  return ticks / ticksPerSecond;
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}
