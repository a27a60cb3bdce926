import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';

export interface RunOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Written to its stdin. */
  readonly input?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** After this time the program is killed, which is an error (default 120_000). */
  readonly timeoutMs?: number;
  /** Aborting kills the program, which is an error. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a program to its end and returns its whole stdout.
 *
 * @throws Error the exit code is not 0; the message quotes stderr
 */
export async function run(options: RunOptions): Promise<string> {
  const { command, args, input, env, cwd, timeoutMs = 120_000, signal } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
    killSignal: 'SIGKILL',
  });
  // A program that does not read its input reports the reason by its exit code.
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const [stdout, stderr, [code, by]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  if (code !== 0) {
    const line = [command, ...args].join(' ').slice(0, 400);
    const output = `${stderr.toString()}${stdout.subarray(-2000).toString()}`.trim();
    throw new Error(`${line} ended with ${by ?? `code ${code}`}: ${output}`);
  }
  return stdout.toString();
}
