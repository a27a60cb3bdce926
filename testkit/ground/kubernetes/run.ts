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
  /** Default 120_000; then it is killed, which is an error. */
  readonly timeoutMs?: number;
  /** Aborting kills it, which is an error. */
  readonly signal?: AbortSignal;
}

/** Runs a program to its end and returns all that it wrote to stdout; any exit code but 0 is an error that quotes stderr. */
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
  // A program that ends without reading its input says why by its exit code.
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
