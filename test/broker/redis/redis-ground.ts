import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, onTestFinished } from 'vitest';
import type { Logger } from '../../../src/base/log/logger.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import {
  RedisDirectory,
  type RedisDirectoryOptions,
} from '../../../src/broker/redis/redis-directory.ts';
import type { DebianProgram } from '../../../testkit/ground/ground.ts';
import { freePort, startProgram, type Program } from '../../../testkit/processes/process.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';

/** How long something that is on its way may take: a machine may be busy. */
export const soon = { timeout: 10_000 };

/** A redis-server that can be killed and started again where it was; it keeps nothing. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly #redis: DebianProgram;
  readonly #args: readonly string[];
  readonly #directory: string;
  #program!: Program;

  private constructor(
    redis: DebianProgram,
    port: number,
    args: readonly string[],
    directory: string,
  ) {
    this.#redis = redis;
    this.port = port;
    this.#args = args;
    this.#directory = directory;
  }

  /** @param settings beyond our own, by name */
  static async start(
    redis: DebianProgram,
    settings: Readonly<Record<string, string | number>> = {},
  ): Promise<RedisServer> {
    const port = await freePort();
    const own = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const more = Object.entries(settings).flatMap(([name, value]) => [
      `--${name}`,
      ...`${value}`.split(' '),
    ]);
    const directory = await mkdtemp(join(tmpdir(), 'culvert-redis-'));
    const server = new RedisServer(redis, port, [...own, ...more], directory);
    await server.startAgain();
    return server;
  }

  /** @param lines of its configuration, which it will change */
  static async startSentinel(redis: DebianProgram, lines: readonly string[]): Promise<RedisServer> {
    const port = await freePort();
    const directory = await mkdtemp(join(tmpdir(), 'culvert-sentinel-'));
    const file = join(directory, 'sentinel.conf');
    await writeFile(file, [`port ${port}`, 'bind 127.0.0.1', ...lines].join('\n'));
    const server = new RedisServer(redis, port, [file, '--sentinel'], directory);
    await server.startAgain();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Sends one command. */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({ host: '127.0.0.1', port: this.port });
    try {
      return await client.call(command, ...args);
    } finally {
      client.disconnect();
    }
  }

  async startAgain(): Promise<void> {
    const { command, args, env } = this.#redis;
    this.#program = startProgram({
      command,
      args: [...args, ...this.#args],
      env,
      name: 'redis-server',
      cwd: this.#directory,
    });
    await this.#program.waitForPort(this.port);
  }

  /** As a power failure does. */
  async kill(): Promise<void> {
    this.#program.kill('SIGKILL');
    await this.#program.exited;
  }

  /** Takes connections and answers nothing until `resume`. */
  pause(): void {
    this.#program.kill('SIGSTOP');
  }

  resume(): void {
    this.#program.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    await this.#program.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A Redis that speaks TLS at one port, and nothing at another. */
export class TlsRedis implements AsyncDisposable {
  readonly server: RedisServer;
  readonly certificates: TestCertificates;
  /** Where TLS is spoken: `rediss://`. */
  readonly url: string;

  private constructor(server: RedisServer, certificates: TestCertificates, port: number) {
    this.server = server;
    this.certificates = certificates;
    this.url = `rediss://127.0.0.1:${port}`;
  }

  /** @param clients whether clients need a certificate, as Redis has it in `tls-auth-clients` */
  static async start(redis: DebianProgram, clients: 'yes' | 'optional'): Promise<TlsRedis> {
    const certificates = await makeTestCertificates();
    const port = await freePort();
    const server = await RedisServer.start(redis, {
      'tls-port': port,
      'tls-cert-file': certificates.server.cert,
      'tls-key-file': certificates.server.key,
      'tls-ca-cert-file': certificates.client.ca,
      'tls-auth-clients': clients,
    });
    return new TlsRedis(server, certificates, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.certificates[Symbol.asyncDispose]();
  }
}

/** A client of the test's own, to look at Redis and to spoil it. */
export function clientOf(server: { readonly port: number }): Redis {
  const client = new Redis({ host: '127.0.0.1', port: server.port });
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}

export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly event: string;
  readonly fields: LogFields;
}

export function recordingLogger(lines: LogLine[]): Logger {
  const at =
    (level: LogLine['level']) =>
    (event: string, fields: LogFields = {}) =>
      void lines.push({ level, event, fields });
  const logger: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: () => logger,
  };
  return logger;
}

/** A replica's directory; it is closed when the test ends. Its time stands still unless the test moves `clock`. */
export interface TestReplica {
  readonly directory: RedisDirectory;
  readonly clock: VirtualClock;
  readonly lines: LogLine[];
}

export async function startReplica(
  options: Pick<RedisDirectoryOptions, 'redis' | 'replica'> & Partial<RedisDirectoryOptions>,
): Promise<TestReplica> {
  const clock = new VirtualClock();
  const lines: LogLine[] = [];
  const log = recordingLogger(lines);
  const directory = await RedisDirectory.connect({ clock, log, ...options });
  onTestFinished(() => directory.close());
  return { directory, clock, lines };
}

/** Resolves when `listener` has been told what `teller` did up to now. */
export async function told(teller: TestReplica, listener: TestReplica): Promise<void> {
  const cluster = `marker ${randomUUID()}`;
  expect(await listener.directory.locate(cluster)).toEqual([]);
  const marker = { cluster, agent: 'a', tunnel: 0, replica: 'teller', address: 'ws://teller' };
  const claim = await teller.directory.claim(marker);
  await expect.poll(() => listener.directory.locate(cluster), soon).toEqual([claim]);
}

let prefixes = 0;

/** A prefix that no other test has: on one server each has a directory that is empty. */
export function newPrefix(): string {
  return `test-${process.pid}-${++prefixes}:`;
}

/** A TCP proxy on loopback; what clients send while it is frozen arrives when it thaws, what servers send passes. */
export class FreezingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #sockets = new Set<Socket>();
  #frozen = false;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      const target = connect(targetPort, '127.0.0.1');
      this.#clients.add(client);
      this.#forward(client, target);
      this.#forward(target, client);
      if (this.#frozen) client.pause();
    });
  }

  static async start(targetPort: number): Promise<FreezingProxy> {
    const proxy = new FreezingProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  freeze(): void {
    this.#frozen = true;
    for (const client of this.#clients) client.pause();
  }

  thaw(): void {
    this.#frozen = false;
    for (const client of this.#clients) client.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #forward(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (bytes) => to.write(bytes));
    from.on('end', () => to.end());
    from.on('error', () => from.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      this.#clients.delete(from);
    });
  }
}
