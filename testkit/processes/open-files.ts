import { readdir, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from './process.ts';

const pollMs = 50;

/** How many sockets a process has open (Linux). */
export async function openSockets({ pid }: Program): Promise<number> {
  const directory = `/proc/${pid}/fd`;
  const links = await Promise.all(
    // One that was closed since it was listed has no target any more.
    (await readdir(directory)).map((fd) => readlink(`${directory}/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith('socket:')).length;
}

/**
 * Resolves when the process has exactly `count` sockets open. @throws Error it has not in time,
 * with how many it has
 */
export async function untilSockets(
  program: Program,
  count: number,
  timeoutMs = 10_000,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    const open = await openSockets(program);
    if (open === count) return;
    if (Date.now() > deadlineMs) {
      throw new Error(`${program.name} has ${open} sockets open, not ${count}:\n${program.output}`);
    }
    await sleep(pollMs);
  }
}
