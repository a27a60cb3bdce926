import { closeSync, openSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { devNull } from 'node:os';
import { describeError } from '../error.ts';
import type { LogFields } from '../log/log-field.ts';
import type { Logger } from '../log/logger.ts';
import { ClosedConnections } from './closed-connections.ts';
import type { ConnectionLimits, ConnectionRefusal } from './connection-limits.ts';
import { type ClientAddress, type Connection, ConnectionTable } from './connection-table.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

const sweepEveryMs = 1_000;

export interface ConnectionGuardParts {
  readonly limits: ConnectionLimits;
  /** The name of the listener in logs. */
  readonly listener: string;
  readonly log: Logger;
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Called for each connection that the guard closes. */
  readonly onClosed?: (reason: ConnectionRefusal) => void;
}

/**
 * Enforces the limits of one listener's connections. When too many connections have not shown a
 * credential, the guard closes the connection that has waited longest for its request. An honest
 * client sends its request at once. So its connection is not the longest waiting one, even if the
 * client shares its address with an attacker.
 */
export class ConnectionGuard implements Disposable {
  readonly #limits: ConnectionLimits;
  readonly #listener: string;
  readonly #onClosed: ((reason: ConnectionRefusal) => void) | undefined;
  readonly #table: ConnectionTable;
  #isEnforcing = false;
  readonly #sweep: NodeJS.Timeout;
  readonly #closed: ClosedConnections;
  #acceptError: string | undefined;

  /** @param server must not listen yet */
  constructor(server: Server, parts: ConnectionGuardParts) {
    this.#limits = parts.limits;
    this.#listener = parts.listener;
    this.#closed = new ClosedConnections(parts.log);
    this.#table = new ConnectionTable(parts.trustedProxies);
    this.#onClosed = parts.onClosed;
    server.on('connection', (socket: Socket) => this.#accept(socket));
    server.on('error', (error: Error) => this.#acceptFailed(error));
    this.#sweep = setInterval(() => {
      this.#closeSlow();
      this.#checkDescriptors();
      this.#closed.logIfDue(() => this.#logFields());
    }, sweepEveryMs);
    this.#sweep.unref();
  }

  /** The number of open connections. */
  get count(): number {
    return this.#table.size;
  }

  /** The number of open connections that have not shown a credential. */
  get unauthenticatedCount(): number {
    return this.#table.unauthenticated;
  }

  /** The number of connections that were closed, by reason. */
  get refusals(): ReadonlyMap<ConnectionRefusal, number> {
    return this.#closed.byReason;
  }

  /**
   * Reports a request. Answers are given one at a time. A second request waits until the client has
   * received the first answer, and a third request closes the connection. So the answers in memory
   * do not grow with the number of requests.
   *
   * @param handle called when the request may be handled, and never after the connection was closed
   */
  begin(socket: Socket, handle: () => void): void {
    const connection = this.#table.find(socket);
    if (connection === undefined || connection.state === 'closed') return;
    if (connection.state === 'answering') {
      if (connection.next === undefined) connection.next = handle;
      else this.#close(connection, 'pipelined');
      return;
    }
    this.#table.setState(connection, 'answering');
    handle();
  }

  /** Reports that the client has received the answer, or that its connection is closed. */
  end(socket: Socket): void {
    const connection = this.#table.find(socket);
    if (connection?.state !== 'answering') return;
    const { next } = connection;
    connection.next = undefined;
    this.#table.setState(connection, next === undefined ? 'waiting' : 'answering');
    next?.();
  }

  /** Reports a valid credential. The time limits no longer apply to the connection. */
  authenticated(socket: Socket): void {
    const connection = this.#table.find(socket);
    if (connection === undefined || connection.state === 'closed') return;
    this.#table.setState(connection, 'authenticated');
    const { maxPerAddress = Infinity } = this.#limits;
    if ((connection.address?.total ?? 0) > maxPerAddress) this.#close(connection, 'address');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweep);
  }

  #accept(socket: Socket): void {
    const connection = this.#table.add(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    // `once` would keep two more objects for each connection.
    socket.on('close', () => this.#table.remove(connection));
    this.#makeRoom(connection);
  }

  #makeRoom(newcomer: Connection): void {
    if (this.#table.size > this.#limits.maxConnections) {
      // The oldest connection had its chance to send a request, unless all arrived at the same
      // moment.
      const [longest = newcomer] = this.#table.waiting;
      this.#close(longest, 'total');
    }
    const isFull = this.#table.unauthenticated > this.#limits.maxUnauthenticated;
    if (isFull || this.#isFull(newcomer.address)) this.#enforceSoon();
  }

  #isFull(address: ClientAddress | undefined): boolean {
    if (address === undefined) return false;
    const { maxUnauthenticatedPerAddress, maxPerAddress = Infinity } = this.#limits;
    return address.unauthenticated > maxUnauthenticatedPerAddress || address.total > maxPerAddress;
  }

  /**
   * Many connections can be accepted in one turn of the event loop, with an honest client among
   * them. So the limits are enforced after their data has been read. By then the honest client's
   * request is being answered, and its connection no longer waits.
   */
  #enforceSoon(): void {
    if (this.#isEnforcing) return;
    this.#isEnforcing = true;
    setImmediate(() =>
      setImmediate(() => {
        this.#isEnforcing = false;
        this.#enforce();
      }),
    );
  }

  #enforce(): void {
    for (const address of [...this.#table.addresses()]) {
      for (const longest of address.waiting) {
        if (!this.#isFull(address)) break;
        this.#close(longest, 'address');
      }
    }
    for (const longest of this.#table.waiting) {
      if (this.#table.unauthenticated <= this.#limits.maxUnauthenticated) break;
      this.#close(longest, 'unauthenticated');
    }
  }

  #closeSlow(): void {
    const nowMs = performance.now();
    const { requestTimeoutMs, answerTimeoutMs } = this.#limits;
    for (const connection of this.#table.connections()) {
      const { state, sinceMs } = connection;
      if (state === 'waiting' && nowMs - sinceMs > requestTimeoutMs) {
        this.#close(connection, 'slow_request');
      } else if (state === 'answering' && nowMs - sinceMs > answerTimeoutMs) {
        this.#close(connection, 'slow_answer');
      }
    }
  }

  #checkDescriptors(): void {
    try {
      closeSync(openSync(devNull, 'r'));
    } catch (thrown) {
      this.#acceptFailed(thrown);
    }
  }

  #acceptFailed(thrown: unknown): void {
    this.#acceptError = describeError(thrown);
    this.#countRefusal('accept_failed');
  }

  #close(connection: Connection, reason: ConnectionRefusal): void {
    this.#countRefusal(reason);
    this.#table.remove(connection);
    connection.socket.destroy();
  }

  #logFields(): LogFields {
    const { maxConnections, maxUnauthenticated } = this.#limits;
    const acceptError = this.#acceptError;
    this.#acceptError = undefined;
    return {
      listener: this.#listener,
      open: this.#table.size,
      limit: maxConnections,
      unauthenticated: this.#table.unauthenticated,
      unauthenticatedLimit: maxUnauthenticated,
      acceptError,
    };
  }

  #countRefusal(reason: ConnectionRefusal): void {
    this.#closed.add(reason);
    this.#onClosed?.(reason);
  }
}
