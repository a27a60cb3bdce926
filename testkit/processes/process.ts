import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const keptOutputChars = 64 * 1024;
const defaultKillAfterMs = 5000;
const keptLines = 2000;
/** Less than a test's time limit, so that the failure names the missing event. */
const defaultWaitMs = 45_000;
const portPollMs = 25;
/** The directory of all output of programs, for the analysis of failures. */
const logDirectory = process.env['PROGRAM_LOGS'];

export interface ProgramOptions {
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** The name in failure messages (default: the command). */
  readonly name?: string;
  /** How long a stop waits after SIGTERM before SIGKILL, in milliseconds (default 5000). */
  readonly killAfterMs?: number;
  /** Aborting stops the program. */
  readonly signal?: AbortSignal;
}

export interface WaitOptions {
  /** How long to wait, in milliseconds (default 45_000). */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface ProgramExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const running = new Set<Program>();
// A test process that ends early must not leave programs behind: by itself, or stopped by the test
// runner (a hook or test that took too long), which sends SIGTERM and half a second later SIGKILL.
process.on('exit', killRunning);
process.once('SIGTERM', () => {
  killRunning();
  process.kill(process.pid, 'SIGTERM');
});

function killRunning(): void {
  for (const program of running) program.kill('SIGKILL');
}

/**
 * A real child process. It is stopped, by its pid alone, when its scope ends (`await using`) or its
 * signal aborts.
 */
export class Program implements AsyncDisposable {
  readonly name: string;
  /**
   * Resolves when the process has ended and its output is read; rejects only when it could not be
   * started.
   */
  readonly exited: Promise<ProgramExit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #killAfterMs: number;
  readonly #lines: string[] = [];
  readonly #lineListeners = new Set<(line: string) => void>();
  #stdout = '';
  #output = '';

  constructor(options: ProgramOptions) {
    const { command, args = [], env, cwd, signal } = options;
    signal?.throwIfAborted();
    this.name = options.name ?? command;
    this.#killAfterMs = options.killAfterMs ?? defaultKillAfterMs;
    this.#child = spawn(command, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(this);
    this.exited = this.#untilExit();
    // A failure reaches the code that waits. No code has to wait.
    this.exited.catch(() => {});
    this.#collect(this.#child.stdout, (text) => (this.#stdout = tail(this.#stdout + text)));
    this.#collect(this.#child.stderr, () => {});

    const stop = () => void this.stop().catch(() => {});
    signal?.addEventListener('abort', stop, { once: true });
    this.exited.then(
      () => signal?.removeEventListener('abort', stop),
      () => {},
    );
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.name} could not be started`);
    return pid;
  }

  /** The last 64 KiB of what it wrote to stdout and stderr, in the order it arrived. */
  get output(): string {
    return this.#output;
  }

  /** The last 64 KiB of what it wrote to stdout. */
  get stdout(): string {
    return this.#stdout;
  }

  /** The first line, of stdout or stderr, that matches; lines written before the call count too. */
  async waitForLine(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    const found = Promise.withResolvers<RegExpExecArray>();
    const look = (line: string) => {
      const match = pattern.exec(line);
      if (match) found.resolve(match);
    };
    for (const line of this.#lines) look(line);
    this.#lineListeners.add(look);
    try {
      return await this.#unlessOver(found.promise, `a line like ${pattern}`, options);
    } finally {
      this.#lineListeners.delete(look);
    }
  }

  /** Resolves when 127.0.0.1:`port` accepts connections. */
  async waitForPort(port: number, options: WaitOptions = {}): Promise<void> {
    const over = new AbortController();
    const accepted = (async () => {
      while (!over.signal.aborted && !(await accepts(port))) await sleep(portPollMs);
    })();
    try {
      await this.#unlessOver(accepted, `port ${port}`, options);
    } finally {
      over.abort();
    }
  }

  /** Sends a signal to the process, if it still runs. */
  kill(signal: NodeJS.Signals): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
  }

  /**
   * SIGTERM, then SIGKILL after `killAfterMs`. Resolves when the process is gone; stopping twice is
   * fine.
   */
  async stop(): Promise<ProgramExit> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), this.#killAfterMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A failed start was already reported to the code that waited for it.
    await this.stop().catch(() => {});
  }

  async #untilExit(): Promise<ProgramExit> {
    try {
      const [code, signal] = (await once(this.#child, 'close')) as [
        number | null,
        NodeJS.Signals | null,
      ];
      return { code, signal };
    } catch (error) {
      throw new Error(`${this.name} could not be started`, { cause: error });
    } finally {
      running.delete(this);
    }
  }

  #collect(stream: Readable, also: (text: string) => void): void {
    let partial = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      this.#output = tail(this.#output + text);
      if (logDirectory !== undefined && this.#child.pid !== undefined) {
        appendFileSync(join(logDirectory, `${this.name}-${this.#child.pid}.log`), text);
      }
      also(text);
      const lines = (partial + text).split('\n');
      partial = lines.pop() ?? '';
      for (const line of lines) this.#addLine(line);
    });
    stream.on('end', () => {
      if (partial !== '') this.#addLine(partial);
    });
  }

  #addLine(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > keptLines) this.#lines.shift();
    for (const look of this.#lineListeners) look(line);
  }

  async #unlessOver<T>(awaited: Promise<T>, what: string, options: WaitOptions): Promise<T> {
    const { timeoutMs = defaultWaitMs, signal } = options;
    const over = Promise.withResolvers<never>();
    const fail = (reason: string, cause?: unknown) =>
      over.reject(new Error(`${this.name}: ${reason}; its output:\n${this.#output}`, { cause }));
    const timer = setTimeout(() => fail(`no ${what} within ${timeoutMs} ms`), timeoutMs);
    const abort = () => fail(`waiting for ${what} was aborted`, signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    this.exited.then(
      ({ code, signal: by }) => fail(`ended with ${by ?? `code ${code}`} before ${what}`),
      (error: unknown) => fail('could not be started', error),
    );
    try {
      return await Promise.race([awaited, over.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }
}

/** Starts a program and returns at once; see `Program` for waiting and stopping. */
export function startProgram(options: ProgramOptions): Program {
  return new Program(options);
}

/** Runs a program to its end and returns what it wrote; the exit code is the caller's to judge. */
export async function runProgram(
  options: ProgramOptions & { readonly timeoutMs?: number },
): Promise<ProgramExit & { readonly stdout: string; readonly output: string }> {
  const { timeoutMs = 60_000 } = options;
  await using program = new Program(options);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    program.kill('SIGKILL');
  }, timeoutMs);
  try {
    const exit = await program.exited;
    if (timedOut) {
      throw new Error(`${program.name} took longer than ${timeoutMs} ms:\n${program.output}`);
    }
    return { ...exit, stdout: program.stdout, output: program.output };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A port that is free at 127.0.0.1 now, for a program that cannot tell which port it has chosen.
 * Systems give ports from 32,768 on to sockets without one, so this one is below.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_768);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function tail(text: string): string {
  return text.length <= keptOutputChars ? text : text.slice(-keptOutputChars);
}
