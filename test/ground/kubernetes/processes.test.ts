import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  isAlive,
  kill,
  killNamed,
  namedRuns,
  processesWhere,
  startAgain,
  startDaemon,
  startNamed,
} from '../../../testkit/ground/kubernetes/processes.ts';

describe('a process that outlives its starter', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-processes-'));
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const waiting = (marker: string) => ({
    command: process.execPath,
    args: ['-e', 'console.log("up"); setInterval(() => {}, 1e6)', marker],
    env: {},
    logFile: join(directory, 'log'),
  });

  it('A daemon writes to its log and runs until it is killed', async () => {
    const record = await startDaemon(waiting('a'));
    await expect.poll(() => readFile(join(directory, 'log'), 'utf8')).toBe('up\n');
    expect(await isAlive(record)).toBe(true);
    await kill(record);
    expect(await isAlive(record)).toBe(false);
    await kill(record);
  });

  it('A daemon has released its port when the kill returns', async () => {
    // As a server of many threads that takes hundreds of MiB: its first thread is a zombie while others clear that away.
    const script = `
      const memory = Buffer.alloc(768 * 2 ** 20, 1);
      const server = require('net').createServer().listen(0, '127.0.0.1', () => {
        console.log(server.address().port);
      });`;
    const log = join(directory, 'log');
    const record = await startDaemon({ ...waiting('a'), args: ['-e', script] });
    await expect.poll(() => readFile(log, 'utf8'), { timeout: 20_000 }).toMatch(/\d/);
    const port = Number(await readFile(log, 'utf8'));
    await kill(record);
    const next = createServer().listen(port, '127.0.0.1');
    await once(next, 'listening');
    next.close();
  }, 30_000);

  it('A daemon is not confused with an earlier process that had the same pid', async () => {
    const record = await startDaemon(waiting('a'));
    const earlier = { ...record, startTicks: '1' };
    await kill(earlier);
    expect(await isAlive(earlier)).toBe(false);
    expect(await isAlive(record)).toBe(true);
    await kill(record);
  });

  it('A daemon is found by its command line', async () => {
    const marker = `marker-${process.pid}`;
    const record = await startDaemon(waiting(marker));
    const found = await processesWhere((words) => words.includes(marker));
    expect(found).toEqual([expect.objectContaining(record)]);
    await kill(record);
    expect(await processesWhere((words) => words.includes(marker))).toEqual([]);
  });

  it('A daemon that cannot be started is an error', async () => {
    const starting = startDaemon({ ...waiting('a'), command: '/no/such/program' });
    await expect(starting).rejects.toThrow('ENOENT');
  });

  it('A named daemon is killed, and started again with its arguments or with one more', async () => {
    const daemon = { ...waiting('first'), name: 'sleeper', directory };
    expect(await namedRuns(directory, 'sleeper')).toBe(false);
    await startNamed(daemon);
    await expect(startAgain(directory, 'sleeper')).rejects.toThrow('sleeper still runs');
    await killNamed(directory, 'sleeper');
    expect(await namedRuns(directory, 'sleeper')).toBe(false);
    await startAgain(directory, 'sleeper', [`second-${process.pid}`]);
    const found = await processesWhere((words) => words.includes(`second-${process.pid}`));
    expect(found.map(({ commandLine }) => commandLine)).toEqual([
      [...[daemon.command, ...daemon.args], `second-${process.pid}`],
    ]);
    await killNamed(directory, 'sleeper');
    await startAgain(directory, 'sleeper');
    expect(await processesWhere((words) => words.includes(`second-${process.pid}`))).toEqual([]);
    await killNamed(directory, 'sleeper');
  });
});
