#!/usr/bin/env node
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from './run.ts';

// Applies to connections that libraries open themselves, for example ioredis to sentinels. Node
// gives up the first address of a name after this time, in milliseconds. The default of 250 ms is
// too short for a slow link. 700 ms is less than half of the time limit for a connection to Redis.
setDefaultAutoSelectFamilyAttemptTimeout(700);

// Linux drops a signal that the first process of a container does not listen to, so a container
// that is stopped while it starts would run until it is killed. There is nothing to drain yet.
if (process.pid === 1) {
  for (const [name, number] of [['SIGINT', 2] as const, ['SIGTERM', 15] as const]) {
    process.on(name, () => {
      if (process.listenerCount(name) === 1) process.exit(128 + number);
    });
  }
}

const { env, stdout, stderr } = process;
// Without a listener, a failed write would end the process with a stack trace.
for (const stream of [stdout, stderr]) stream.on('error', () => {});
let lost: NodeJS.ErrnoException | undefined;
/** Takes the output of commands. The log of a program does not go through it. */
const output = {
  write: (text: string) => stdout.write(text, (error) => (lost ??= error ?? undefined)),
};
const argv = process.argv.slice(2);
const result = await runCli(argv, { env, stdout: output, stderr, signals: process });

/**
 * How long the process waits at its end for the last log lines to be written, in milliseconds. The
 * reader of the output may have stopped.
 */
const lastLinesMs = 1_000;
await Promise.race([
  Promise.all([stdout, stderr].map((stream) => written(stream))),
  sleep(lastLinesMs, undefined, { ref: false }),
]);

// A reader that has gone, such as `head`, wants no message.
if (lost !== undefined && lost.code !== 'EPIPE') {
  stderr.write(`culvert: the output cannot be written: ${lost.message}\n`);
}
const code = lost === undefined || result !== 0 ? result : 1;

// A process that has ended in order exits by itself. After this time, in milliseconds, it exits
// even if a library still holds a handle.
const lingerMs = 1_000;
process.exitCode = code;
if (code === 0) setTimeout(() => process.exit(), lingerMs).unref();
else process.exit();

/** Resolves when a stream has written everything that it was given, or has failed. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((resolve) => {
    stream.once('error', () => resolve());
    if (stream.errored === null) stream.write('', () => resolve());
    else resolve();
  });
}
