#!/usr/bin/env node
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from './run.ts';

// For connections that libraries make themselves (ioredis to sentinels): Node gives the first address of a name up after this time, in
// milliseconds, and its default of 250 ms is too short for a slow link. It is less than half of what a connection to Redis may take.
setDefaultAutoSelectFamilyAttemptTimeout(700);

const { env, stdout, stderr } = process;
const code = await runCli(process.argv.slice(2), { env, stdout, stderr, signals: process });

/** How long the last lines may take to be written, in milliseconds. Perhaps nobody reads them. */
const lastLinesMs = 1_000;
await Promise.race([
  Promise.all([stdout, stderr].map((stream) => written(stream))),
  sleep(lastLinesMs, undefined, { ref: false }),
]);

// After an orderly end the process leaves by itself; what a library still holds may not keep it longer than this.
const lingerMs = 1_000;
process.exitCode = code;
if (code === 0) setTimeout(() => process.exit(), lingerMs).unref();
else process.exit();

/** Resolves when a stream has written everything that it was given. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength > 0)
    await new Promise<void>((resolve) => stream.write('', () => resolve()));
}
