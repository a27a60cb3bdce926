import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { patternAt } from '../stream/pattern.ts';

const tickMs = 20;

/** The behaviour of a target. Rates bound the load, because streams must last, not be fast. */
export interface TargetScript {
  /** Bytes of the pattern that it sends, then FIN; without, it ends when its peer has. */
  readonly sendBytes?: number;
  /** When it begins to send (default `accept`). */
  readonly sendAfter?: 'accept' | 'first-byte' | 'fin';
  /** Sends one byte when it has received so many. */
  readonly confirmBytes?: number;
  readonly bytesPerSecond: number;
}

/** The result of one connection. */
export interface ArrivalReport {
  /** The address on which the target was reached: each agent dials another one. */
  readonly address: string;
  readonly receivedBytes: number;
  readonly sha256: string;
  readonly end: 'fin' | 'reset';
}

/**
 * A TCP target that reads and writes at a bounded rate, on one port of several loopback addresses.
 */
export class PacedTarget implements AsyncDisposable {
  readonly #servers: readonly Server[];
  readonly #open = new Set<Socket>();
  readonly #accepted = Promise.withResolvers<string>();
  readonly #ended = Promise.withResolvers<ArrivalReport>();

  private constructor(
    servers: readonly Server[],
    serve: (socket: Socket, target: PacedTarget) => void,
  ) {
    this.#servers = servers;
    for (const server of servers) {
      server.on('connection', (socket: Socket) => {
        this.#open.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => this.#open.delete(socket));
        this.#accepted.resolve(socket.localAddress ?? '');
        serve(socket, this);
      });
    }
  }

  static async start(addresses: readonly string[], script: TargetScript): Promise<PacedTarget> {
    return new PacedTarget(await listenOnAll(addresses), (socket, target) => {
      void target.#follow(socket, script);
    });
  }

  /** Sends back what it receives, for any number of connections. */
  static async echo(addresses: readonly string[]): Promise<PacedTarget> {
    return new PacedTarget(await listenOnAll(addresses), (socket) => socket.pipe(socket));
  }

  /** Sends `bytes` of the pattern and ends, for any number of connections. */
  static async banner(addresses: readonly string[], bytes: number): Promise<PacedTarget> {
    return new PacedTarget(await listenOnAll(addresses), (socket) => {
      for (let at = 0; at < bytes;) {
        const piece = patternAt(at, bytes - at);
        socket.write(piece);
        at += piece.length;
      }
      socket.end();
      socket.resume();
    });
  }

  get port(): number {
    return (this.#servers[0]!.address() as AddressInfo).port;
  }

  /** How many connections are open now. */
  get openCount(): number {
    return this.#open.size;
  }

  /** The address on which the first connection came in. */
  get reached(): Promise<string> {
    return this.#accepted.promise;
  }

  /** How the first connection went, once it has ended. */
  get report(): Promise<ArrivalReport> {
    return this.#ended.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map((server) => once(server, 'close'));
    // No server accepts while another one closes.
    for (const server of this.#servers) server.close();
    for (const socket of this.#open) socket.destroy();
    await Promise.all(closed);
  }

  async #follow(
    socket: Socket,
    { sendBytes, sendAfter = 'accept', confirmBytes, bytesPerSecond }: TargetScript,
  ): Promise<void> {
    const address = socket.localAddress ?? '';
    const hash = createHash('sha256');
    const pace = new Pace(bytesPerSecond);
    let receivedBytes = 0;
    let end: ArrivalReport['end'] = 'reset';
    const send = (): void => void sendPaced(socket, sendBytes ?? 0, bytesPerSecond);
    socket.on('data', (chunk: Buffer) => {
      if (receivedBytes === 0 && sendAfter === 'first-byte') send();
      receivedBytes += chunk.length;
      hash.update(chunk);
      if (receivedBytes === confirmBytes) socket.write('\n');
      const waitMs = pace.took(chunk.length);
      if (waitMs < tickMs) return;
      socket.pause();
      setTimeout(() => socket.resume(), waitMs);
    });
    socket.on('end', () => {
      end = 'fin';
      if (sendBytes === undefined) socket.end();
      else if (sendAfter === 'fin') send();
    });
    socket.on('close', () => {
      this.#ended.resolve({ address, receivedBytes, sha256: hash.digest('hex'), end });
    });
    if (sendBytes !== undefined && sendAfter === 'accept') send();
  }
}

/** Computes delays that limit bytes to a rate. */
export class Pace {
  readonly #bytesPerSecond: number;
  #dueMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /**
   * So many bytes went; the next may go after this many milliseconds. A pause before is not made up
   * for.
   */
  took(bytes: number): number {
    const nowMs = performance.now();
    this.#dueMs = Math.max(this.#dueMs, nowMs) + (bytes / this.#bytesPerSecond) * 1000;
    return this.#dueMs - nowMs;
  }
}

/** Writes the pattern at a bounded rate, then FIN. */
async function sendPaced(socket: Socket, bytes: number, bytesPerSecond: number): Promise<void> {
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const chunk = Math.ceil((bytesPerSecond * tickMs) / 1000);
  for (let sent = 0; sent < bytes && !gone.signal.aborted;) {
    const piece = patternAt(sent, Math.min(chunk, bytes - sent));
    sent += piece.length;
    const room = socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, tickMs));
    if (!room && socket.writableNeedDrain)
      await once(socket, 'drain', { signal: gone.signal }).catch(() => {});
  }
  socket.end();
}

async function listenOnAll(addresses: readonly string[]): Promise<Server[]> {
  for (;;) {
    const servers: Server[] = [];
    let port = 0;
    try {
      for (const address of addresses) {
        const server = createServer({ noDelay: true, allowHalfOpen: true });
        server.listen(port, address);
        await once(server, 'listening');
        servers.push(server);
        ({ port } = server.address() as AddressInfo);
      }
      return servers;
    } catch (thrown) {
      for (const server of servers) server.close();
      // The port that is free on the first address may be in use on another address.
      if ((thrown as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw thrown;
    }
  }
}
