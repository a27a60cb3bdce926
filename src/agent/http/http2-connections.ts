import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { Http2Connection, http2Limits } from './http2-connection.ts';
import type { Endpoint, HttpServers } from './http-servers.ts';

/** How long a server that does not offer HTTP/2 is asked with HTTP/1.1 alone, in milliseconds. */
const http1Ms = 10 * 60_000;

export interface Http2ConnectionsOptions {
  readonly servers: HttpServers;
  readonly clock: Clock;
  /** Gets the connection to a server that does not offer HTTP/2. */
  readonly onHttp1: (endpoint: Endpoint, socket: Socket) => void;
}

interface Waiter {
  readonly resolve: (connection: Http2Connection | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** The connections to one server. */
class Server {
  /** The oldest first, which is filled first, so that the others become idle. */
  readonly connections: Http2Connection[] = [];
  readonly waiters = new Set<Waiter>();
  readonly dials = new Set<AbortController>();
  http1UntilMs = -Infinity;

  take(): Http2Connection | undefined {
    return this.connections.find((connection) => connection.reserve());
  }
}

/** Connections of HTTP/2, by their server, which requests share. */
export class Http2Connections {
  readonly #options: Http2ConnectionsOptions;
  readonly #servers = new Map<string, Server>();
  #isClosed = false;

  constructor(options: Http2ConnectionsOptions) {
    this.#options = options;
  }

  get count(): number {
    let count = 0;
    for (const { connections } of this.#servers.values()) count += connections.length;
    return count;
  }

  /** Whether requests of HTTP/2 can be sent to an endpoint, as far as the agent knows. */
  isOffered({ key, isTls }: Endpoint): boolean {
    const { http1UntilMs = -Infinity } = this.#servers.get(key) ?? {};
    return isTls && !this.#isClosed && http1UntilMs <= this.#options.clock.now();
  }

  /** Returns a connection with a reserved place; undefined: there is none. */
  take({ key }: Endpoint): Http2Connection | undefined {
    return this.#servers.get(key)?.take();
  }

  /**
   * Returns a connection with a reserved place; undefined: the server does not offer HTTP/2.
   * Requests that wait at the same time share new connections.
   *
   * @throws TunnelError `cancelled` after an abort; any other code says why there is no connection
   */
  async acquire(endpoint: Endpoint, signal: AbortSignal): Promise<Http2Connection | undefined> {
    const server = this.#serverOf(endpoint.key);
    const known = server.take();
    if (known !== undefined || !this.isOffered(endpoint)) return known;
    const { promise, resolve, reject } = Promise.withResolvers<Http2Connection | undefined>();
    const waiter = { resolve, reject };
    server.waiters.add(waiter);
    const onAbort = (): void => {
      server.waiters.delete(waiter);
      reject(new TunnelError('cancelled', 'the stream ended during the dial'));
      if (server.waiters.size > 0) return;
      for (const dial of server.dials) dial.abort();
      // A request that comes now must not wait for a dial that is cancelled.
      server.dials.clear();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#dialForWaiters(server, endpoint);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Closes idle connections now, and others after their last request. Further requests use HTTP/1.1.
   * Idempotent.
   */
  close(): void {
    this.#isClosed = true;
    for (const { connections } of this.#servers.values()) {
      for (const connection of Array.from(connections)) connection.retire();
    }
  }

  #serverOf(key: string): Server {
    let server = this.#servers.get(key);
    if (server === undefined) this.#servers.set(key, (server = new Server()));
    return server;
  }

  #dialForWaiters(server: Server, endpoint: Endpoint): void {
    const { maxStreams } = http2Limits;
    while (server.dials.size * maxStreams < server.waiters.size) void this.#dial(server, endpoint);
  }

  /** Never rejects. */
  async #dial(server: Server, endpoint: Endpoint): Promise<void> {
    const dialing = new AbortController();
    server.dials.add(dialing);
    try {
      const connection = await this.#connect(server, endpoint, dialing.signal);
      server.dials.delete(dialing);
      if (connection === undefined) this.#useHttp1(server);
      else this.#serve(server, endpoint, connection);
    } catch (thrown) {
      server.dials.delete(dialing);
      // Other dials are for those who wait, and may still succeed.
      if (dialing.signal.aborted || server.dials.size > 0) return;
      const error = dialError(endpoint.host, thrown);
      for (const { reject } of server.waiters) reject(error);
      server.waiters.clear();
    }
  }

  /** @throws Error there is no connection */
  async #connect(
    server: Server,
    endpoint: Endpoint,
    signal: AbortSignal,
  ): Promise<Http2Connection | undefined> {
    const { servers, clock, onHttp1 } = this.#options;
    const socket = await servers.connect(endpoint, signal, ['h2', 'http/1.1']);
    if ((socket as TLSSocket).alpnProtocol !== 'h2') {
      onHttp1(endpoint, socket);
      return undefined;
    }
    const { connections } = server;
    const connection = new Http2Connection({
      socket,
      host: endpoint.host,
      clock,
      onRetired: () => {
        const at = connections.indexOf(connection);
        if (at >= 0) connections.splice(at, 1);
      },
    });
    connections.push(connection);
    await connection.ready;
    return connection;
  }

  /** @throws Error the connection takes no requests any more */
  #serve(server: Server, endpoint: Endpoint, connection: Http2Connection): void {
    if (this.#isClosed) {
      connection.retire();
      return this.#useHttp1(server);
    }
    if (connection.isRetired) throw new Error('the server closed the connection');
    let served = 0;
    for (const waiter of server.waiters) {
      if (!connection.reserve()) break;
      served++;
      server.waiters.delete(waiter);
      waiter.resolve(connection);
    }
    // A server that allows no request would be dialed again and again.
    if (served === 0 && server.waiters.size > 0) this.#useHttp1(server);
    else this.#dialForWaiters(server, endpoint);
  }

  #useHttp1(server: Server): void {
    server.http1UntilMs = this.#options.clock.now() + http1Ms;
    for (const { resolve } of server.waiters) resolve(undefined);
    server.waiters.clear();
  }
}

function dialError(host: string, cause: unknown): TunnelError {
  if (cause instanceof TunnelError) return cause;
  const sentence = `the connection to ${host} broke off: ${describeError(cause)}`;
  return new TunnelError('target_reset', sentence, { cause });
}
