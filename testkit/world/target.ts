import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { patternAt } from '../stream/pattern.ts';

/** The response of an http target to GET /. */
export const targetBody = 'hello from the target\n';

export type TargetMode =
  /**
   * HTTP/1.1: GET / answers `targetBody`, GET /bytes/N the first N bytes of the pattern, all else
   * 404.
   */
  | { readonly mode: 'http' }
  /** Sends back what it receives. */
  | { readonly mode: 'echo' }
  /** Reads to the end; `connections` tell how many bytes arrived and their sum. */
  | { readonly mode: 'sink' }
  /**
   * Sends `bytes` (Infinity: without end) of the pattern, at once or after the first byte it gets,
   * then closes.
   */
  | { readonly mode: 'source'; readonly bytes: number; readonly afterFirstByte?: boolean }
  /** Sends `bytes` of the pattern as soon as it accepts, then listens until the peer closes. */
  | { readonly mode: 'banner'; readonly bytes: number }
  /** Accepts and never reads, so what is sent to it piles up on the way. */
  | { readonly mode: 'never-reads' }
  /** Reads and never answers. */
  | { readonly mode: 'black-hole' };

/** The bytes that one connection sent to a target, and how it ended. */
export interface ConnectionReport {
  readonly receivedBytes: number;
  /** Hexadecimal SHA-256 of the received bytes (http and never-reads do not look at them). */
  readonly sha256: string;
  /** The peer's FIN, or its RST (or any other error). */
  readonly end: 'fin' | 'reset';
}

/** A real TCP server on 127.0.0.1 for tests to reach through whatever they test. */
export class TestTarget implements AsyncDisposable {
  readonly #server: Server;
  readonly #mode: TargetMode['mode'];
  readonly #open = new Set<Socket>();
  readonly #reports: ConnectionReport[] = [];
  readonly #reportListeners = new Set<() => void>();
  #accepted = 0;

  constructor(server: Server, mode: TargetMode['mode']) {
    this.#server = server;
    this.#mode = mode;
    server.on('connection', (socket: Socket) => {
      this.#accepted++;
      this.#open.add(socket);
      this.#watch(socket);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:PORT`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** How many connections there have been. */
  get acceptedCount(): number {
    return this.#accepted;
  }

  /** How many connections are open now. */
  get openCount(): number {
    return this.#open.size;
  }

  /** The ended connections, in the order of their ends. */
  get reports(): readonly ConnectionReport[] {
    return this.#reports;
  }

  /** Resolves with the reports as soon as there are `count` of them. */
  async waitForReports(
    count: number,
    signal: AbortSignal = AbortSignal.timeout(15_000),
  ): Promise<readonly ConnectionReport[]> {
    const enough = Promise.withResolvers<void>();
    const look = () => {
      if (this.#reports.length >= count) enough.resolve();
    };
    const abort = () =>
      enough.reject(
        new Error(
          `${this.#reports.length} of ${count} connections to the target ended, ${this.#open.size} are open`,
          { cause: signal.reason },
        ),
      );
    this.#reportListeners.add(look);
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      look();
      await enough.promise;
      return this.#reports;
    } finally {
      this.#reportListeners.delete(look);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Closes the listener and cuts open connections. */
  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #watch(socket: Socket): void {
    const hash = createHash('sha256');
    let receivedBytes = 0;
    let end: ConnectionReport['end'] = 'reset';
    // A listener makes a socket flow. Targets that never read and the HTTP parser must have none.
    if (this.#mode !== 'never-reads' && this.#mode !== 'http') {
      socket.on('data', (chunk: Buffer) => {
        receivedBytes += chunk.length;
        hash.update(chunk);
      });
    }
    socket.on('end', () => (end = 'fin'));
    socket.on('error', () => (end = 'reset'));
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#reports.push({ receivedBytes, sha256: hash.digest('hex'), end });
      for (const look of this.#reportListeners) look();
    });
  }
}

/** Starts a target on a loopback port of the system's choice. */
export async function startTarget(mode: TargetMode): Promise<TestTarget> {
  const server = mode.mode === 'http' ? httpServer() : tcpServer(mode);
  const target = new TestTarget(server, mode.mode);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return target;
}

function tcpServer(mode: Exclude<TargetMode, { mode: 'http' }>): Server {
  const options = { noDelay: true, pauseOnConnect: mode.mode === 'never-reads' };
  return createServer({ ...options, allowHalfOpen: true }, (socket) => {
    switch (mode.mode) {
      case 'echo':
        socket.pipe(socket);
        return;
      case 'source':
        if (mode.afterFirstByte) socket.once('data', () => send(socket, mode.bytes, true));
        else send(socket, mode.bytes, true);
        break;
      case 'banner':
        send(socket, mode.bytes, false);
        break;
      case 'never-reads':
        return;
      case 'sink':
      case 'black-hole':
        break;
    }
    // Unread input would turn our FIN into a reset.
    socket.resume();
    socket.on('end', () => socket.end());
  });
}

function send(socket: Socket, bytes: number, thenEnd: boolean): void {
  let sent = 0;
  const more = () => {
    let room = true;
    while (sent < bytes && room && socket.writable) {
      const piece = patternAt(sent, bytes - sent);
      sent += piece.length;
      room = socket.write(piece);
    }
    if (sent < bytes) return;
    socket.off('drain', more);
    if (thenEnd) socket.end();
  };
  socket.on('drain', more);
  more();
}

function httpServer(): Server {
  return createHttpServer((request, response) => {
    const bytes = /^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1];
    if (bytes !== undefined) {
      response.setHeader('content-length', bytes);
      sendBody(response, Number(bytes));
    } else if (request.url === '/') {
      response.end(targetBody);
    } else {
      response.statusCode = 404;
      response.end('the target has / and /bytes/N\n');
    }
  });
}

function sendBody(response: NodeJS.WritableStream, bytes: number): void {
  let sent = 0;
  const more = () => {
    let room = true;
    while (sent < bytes && room) {
      const piece = patternAt(sent, bytes - sent);
      sent += piece.length;
      room = response.write(piece);
    }
    if (sent < bytes) response.once('drain', more);
    else response.end();
  };
  more();
}
