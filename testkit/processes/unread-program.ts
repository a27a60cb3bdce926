import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProgramExit, ProgramOptions } from './process.ts';

/**
 * A real process whose stdout and stderr are pipes that are read only while a test wants it, as
 * with a log collector that hangs. It is stopped, by its pid alone, when its scope ends.
 */
export class UnreadProgram implements AsyncDisposable {
  readonly exited: Promise<ProgramExit>;
  readonly #child: ChildProcess;
  readonly #reader: Socket;
  readonly #directory: string;
  readonly #watchers = new Set<() => void>();
  #text = '';

  private constructor(child: ChildProcess, reader: Socket, directory: string) {
    this.#child = child;
    this.#reader = reader;
    this.#directory = directory;
    this.exited = once(child, 'exit').then(([code, signal]: unknown[]) => {
      return { code, signal } as ProgramExit;
    });
    reader.setEncoding('utf8');
    reader.on('error', () => {});
    reader.on('data', (text: string) => {
      this.#text += text;
      for (const look of this.#watchers) look();
    });
    reader.pause();
  }

  /** Starts a program whose output is not read yet. */
  static async start({ command, args = [], env }: ProgramOptions): Promise<UnreadProgram> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-unread-'));
    const path = join(directory, 'output');
    execFileSync('mkfifo', [path]);
    const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writing = openSync(path, constants.O_WRONLY);
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', writing, writing],
    });
    closeSync(writing);
    return new UnreadProgram(child, new Socket({ fd: reading, readable: true }), directory);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The output that has been read so far. */
  get output(): string {
    return this.#text;
  }

  /** Reads until a line matches, and then stops reading again. */
  async waitForLine(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const look = () => {
      const found = pattern.exec(this.#text);
      if (found !== null) resolve(found);
    };
    const timer = setTimeout(
      () => reject(new Error(`no line like ${pattern} within ${timeoutMs} ms:\n${this.#text}`)),
      timeoutMs,
    );
    this.#watchers.add(look);
    look();
    this.#reader.resume();
    try {
      return await promise;
    } finally {
      this.#reader.pause();
      this.#watchers.delete(look);
      clearTimeout(timer);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.kill('SIGKILL');
    await this.exited;
    this.#reader.destroy();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
