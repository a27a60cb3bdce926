import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program, ProgramOptions } from '../processes/process.ts';

/** Where something listens, without a scheme. */
export type Address = `${string}:${number}`;

export function addressOf(url: string): Address {
  return new URL(url).host as Address;
}

/** The same program with a low limit of open files. */
export function withOpenFiles(limit: number, program: ProgramOptions): ProgramOptions {
  const { command, args = [] } = program;
  return {
    ...program,
    command: '/bin/sh',
    args: ['-c', `ulimit -n ${limit}; exec "$@"`, 'sh', command, ...args],
  };
}

/** TCP connections of a stranger. They never throw, and are closed at the end of the test. */
export class Stranger implements Disposable {
  readonly #sockets: Socket[] = [];
  readonly #localAddress: string | undefined;

  /** @param localAddress where its connections come from (default: the system's choice) */
  constructor(localAddress?: string) {
    this.#localAddress = localAddress;
  }

  /** Connects; it may be closed by the other end at any time. */
  connect(address: Address): Socket {
    const { hostname: host, port } = new URL(`tcp://${address}`);
    const local = this.#localAddress === undefined ? {} : { localAddress: this.#localAddress };
    const socket = connect({ host, port: Number(port), ...local });
    socket.on('error', () => {});
    this.#sockets.push(socket);
    return socket;
  }

  /** How many of its connections are open. */
  get open(): number {
    return this.#sockets.filter((socket) => !socket.destroyed).length;
  }

  /**
   * Sends these bytes as they are, and resolves with everything that comes until the connection is
   * closed.
   */
  async say(address: Address, bytes: string | Uint8Array): Promise<string> {
    const socket = this.connect(address);
    socket.write(bytes);
    let answer = '';
    socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
    await once(socket, 'close');
    return answer;
  }

  /** Reads what has come, so that the end of a connection is seen. */
  read(): void {
    for (const socket of this.#sockets) socket.resume();
  }

  /**
   * Resolves when each connection has been closed by the other end. @throws Error some are open
   * after this long
   */
  async untilClosed(timeoutMs: number): Promise<void> {
    const deadlineMs = Date.now() + timeoutMs;
    while (this.open > 0) {
      if (Date.now() > deadlineMs) throw new Error(`${this.open} connections are still open`);
      await sleep(50);
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** GETs a path over a connection of its own. */
export async function ask(
  address: Address,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly body: string; readonly retryAfter?: string }> {
  const { hostname: host, port } = new URL(`tcp://${address}`);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ host, port: Number(port), path, headers, agent: false }, resolve).on('error', reject);
  const response = await promise;
  const retryAfter = response.headers['retry-after'];
  return {
    status: response.statusCode!,
    body: await text(response),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  };
}

/**
 * How many failures in a row make a kubelet restart a container (the default of
 * `failureThreshold`).
 */
const failureThreshold = 3;

/**
 * Does something as often as a kubelet probes before it restarts the container. @throws Error the
 * action failed each time; the cause is the last failure
 */
export async function tryLikeKubelet<T>(what: string, action: () => Promise<T>): Promise<T> {
  for (let failures = 0; ;) {
    try {
      return await action();
    } catch (thrown) {
      if (++failures < failureThreshold) continue;
      throw new Error(`${what} failed ${failures} times in a row`, { cause: thrown });
    }
  }
}

/**
 * Probes as a kubelet does. @throws Error it would restart the container, or take its pod out of
 * the Service
 */
export async function probeLikeKubelet(address: Address, path: string): Promise<void> {
  await tryLikeKubelet(path, async () => {
    const { status } = await ask(address, path);
    if (status !== 200) throw new Error(`it was answered with ${status}`);
  });
}

/** How many lines a program has logged so far about an event. */
export function linesAbout(program: Program, event: string): number {
  return program.output.split('\n').filter((line) => line.includes(`"event":"${event}"`)).length;
}
