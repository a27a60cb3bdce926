import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Entrance } from './kubectl.ts';

const pollMs = 20;

/** A process that outlives its starter. The start time tells it from later ones with its pid. */
export interface ProcessRecord {
  readonly pid: number;
  readonly startTicks: string;
}

export interface DaemonOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly entrance?: Entrance;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/** Starts a process in its own session with its output in a file. Returns when it runs. */
export async function startDaemon(options: DaemonOptions): Promise<ProcessRecord> {
  const { command, args, entrance, env, logFile } = options;
  await mkdir(dirname(logFile), { recursive: true });
  const log = await open(logFile, 'a');
  try {
    const child = spawn(
      entrance?.command ?? command,
      entrance === undefined ? args : [...entrance.args, command, ...args],
      { detached: true, stdio: ['ignore', log.fd, log.fd], cwd: '/', env },
    );
    await once(child, 'spawn');
    child.unref();
    return await recordOf(child.pid!).catch(async (error: unknown) => {
      const message = `${command} ended at once: ${await readFile(logFile, 'utf8')}`;
      throw new Error(message, { cause: error });
    });
  } finally {
    await log.close();
  }
}

/** The record of a process that runs. */
export async function recordOf(pid: number): Promise<ProcessRecord> {
  const startTicks = await startTicksOf(pid);
  if (startTicks === undefined) throw new Error(`process ${pid} does not run`);
  return { pid, startTicks };
}

/** A program of a cluster and its command line, so that it can be started again. */
export interface NamedDaemon extends DaemonOptions {
  readonly name: string;
  /** The directory of its record. */
  readonly directory: string;
}

export async function startNamed(daemon: NamedDaemon, more: readonly string[] = []): Promise<void> {
  const process = await startDaemon({ ...daemon, args: [...daemon.args, ...more] });
  const file = recordFile(daemon.directory, daemon.name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ daemon, process }), { mode: 0o600 });
}

/** Kills a named program. `startAgain` starts it again. */
export async function killNamed(directory: string, name: string): Promise<void> {
  const { process: record } = await readNamed(directory, name);
  // The started process is nsenter, which waits for the program and ends with it.
  const targets = [...(await childrenOf(record)), record];
  for (const target of targets) await kill(target);
}

/** Starts a killed program again, this time with `more` arguments after its original ones. */
export async function startAgain(
  directory: string,
  name: string,
  more: readonly string[] = [],
): Promise<void> {
  const { daemon, process } = await readNamed(directory, name);
  if (await isAlive(process)) throw new Error(`${name} still runs`);
  await startNamed(daemon, more);
}

export async function namedRuns(directory: string, name: string): Promise<boolean> {
  if (!existsSync(recordFile(directory, name))) return false;
  return isAlive((await readNamed(directory, name)).process);
}

async function readNamed(directory: string, name: string) {
  const text = await readFile(recordFile(directory, name), 'utf8');
  return JSON.parse(text) as { daemon: NamedDaemon; process: ProcessRecord };
}

function recordFile(directory: string, name: string): string {
  return join(directory, 'programs', `${name}.json`);
}

export async function isAlive({ pid, startTicks }: ProcessRecord): Promise<boolean> {
  return (await startTicksOf(pid)) === startTicks;
}

/** Sends SIGKILL and waits until the process is gone. It may be gone already. */
export async function kill(record: ProcessRecord): Promise<void> {
  if (!(await isAlive(record))) return;
  try {
    process.kill(record.pid, 'SIGKILL');
  } catch {
    // The process ended meanwhile.
  }
  while (await isAlive(record)) await sleep(pollMs);
}

export async function childrenOf({ pid }: ProcessRecord): Promise<ProcessRecord[]> {
  const path = `/proc/${pid}/task/${pid}/children`;
  const children: ProcessRecord[] = [];
  const text = await readFile(path, 'utf8').catch(() => '');
  for (const child of text.split(' ').filter(Boolean).map(Number)) {
    const startTicks = await startTicksOf(child);
    if (startTicks !== undefined) children.push({ pid: child, startTicks });
  }
  return children;
}

/** Processes of this machine whose command line `matches`. */
export async function processesWhere(
  matches: (commandLine: readonly string[]) => boolean,
): Promise<(ProcessRecord & { readonly commandLine: readonly string[] })[]> {
  const found: (ProcessRecord & { readonly commandLine: readonly string[] })[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const commandLine = text.split('\0').slice(0, -1);
    if (!matches(commandLine)) continue;
    const startTicks = await startTicksOf(pid);
    if (startTicks !== undefined) found.push({ pid, startTicks, commandLine });
  }
  return found;
}

/**
 * undefined when there is no such process, or only what its parent has not collected yet. That is a
 * zombie without threads: one whose threads are still about to end holds its files and ports, and
 * may do so long after, as they give back its memory first.
 */
async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  // The name in brackets may hold any character. Fields from 3 on follow, separated by spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, threads, startTicks] = [fields[0], Number(fields[17]), fields[19]];
  return state === 'Z' && threads <= 1 ? undefined : startTicks;
}
