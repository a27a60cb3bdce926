import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import type { Server, Socket } from 'node:net';
import { addressGroup } from '../net/address-group.ts';
import { ClosedConnections } from './closed-connections.ts';
import type { ConnectionLimits, ConnectionRefusal } from './connection-limits.ts';
import { describeError } from '../error.ts';
import type { Logger } from '../log/logger.ts';
import type { LogFields } from '../log/log-field.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** A connection that has not shown a credential, or has. */
interface Connection {
  readonly socket: Socket;
  /** Of the address and port of the client: a TLS socket has the same. */
  readonly key: string;
  /** Undefined for a trusted proxy. */
  readonly address: Address | undefined;
  state: 'waiting' | 'answering' | 'authenticated' | 'closed';
  /** When it came into this state. */
  sinceMs: number;
  /** A request that came while an answer was still being written. */
  next: (() => void) | undefined;
}

interface Address {
  readonly name: string;
  total: number;
  unauthenticated: number;
  /** Those that wait for a request, the longest first. */
  readonly waiting: Set<Connection>;
}

const sweepEveryMs = 1_000;

export interface ConnectionGuardParts {
  readonly limits: ConnectionLimits;
  /** Names the listener in logs. */
  readonly listener: string;
  readonly log: Logger;
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Called for each connection that the guard closes. */
  readonly onClosed?: (why: ConnectionRefusal) => void;
}

/**
 * Keeps the connections of one listener within their limits. When there are too many without a credential, the one that has waited
 * longest for its request makes room: an honest client sends its request at once, so it is not the one, even where it shares its address
 * with an attacker.
 */
export class ConnectionGuard implements Disposable {
  readonly #limits: ConnectionLimits;
  readonly #listener: string;
  readonly #trustedProxies: TrustedProxies | undefined;
  readonly #onClosed: ((why: ConnectionRefusal) => void) | undefined;
  readonly #connections = new Map<string, Connection>();
  readonly #addresses = new Map<string, Address>();
  /** Of all addresses, the longest first. */
  readonly #waiting = new Set<Connection>();
  #unauthenticated = 0;
  #isEnforcing = false;
  readonly #sweep: NodeJS.Timeout;
  readonly #closed: ClosedConnections;
  #acceptError: string | undefined;

  /** Watches `server`, which has not begun to listen. */
  constructor(server: Server, parts: ConnectionGuardParts) {
    const { limits } = parts;
    this.#limits = limits;
    this.#listener = parts.listener;
    this.#closed = new ClosedConnections(parts.log);
    this.#trustedProxies = parts.trustedProxies;
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

  /** How many connections there are. */
  get count(): number {
    return this.#connections.size;
  }

  /** How many of them have not shown a credential. */
  get unauthenticatedCount(): number {
    return this.#unauthenticated;
  }

  /** How many connections were closed, by reason. */
  get refusals(): ReadonlyMap<ConnectionRefusal, number> {
    return this.#closed.byReason;
  }

  /**
   * A request has come. Answers are given one at a time: a second request waits until the first has been answered and taken, a third one
   * closes the connection. So the answers in memory do not grow with the number of requests.
   *
   * @param handle called when the request may be handled, never after the connection was closed
   */
  begin(socket: Socket, handle: () => void): void {
    const connection = this.#find(socket);
    if (connection === undefined || connection.state === 'closed') return;
    if (connection.state === 'answering') {
      if (connection.next === undefined) connection.next = handle;
      else this.#close(connection, 'pipelined');
      return;
    }
    this.#setState(connection, 'answering');
    handle();
  }

  /** The answer has been taken, or its connection is gone. */
  end(socket: Socket): void {
    const connection = this.#find(socket);
    if (connection?.state !== 'answering') return;
    const { next } = connection;
    connection.next = undefined;
    this.#setState(connection, next === undefined ? 'waiting' : 'answering');
    next?.();
  }

  /** The connection has shown a credential that counts; it is no longer in a hurry. */
  authenticated(socket: Socket): void {
    const connection = this.#find(socket);
    if (connection === undefined || connection.state === 'closed') return;
    this.#setState(connection, 'authenticated');
    const { maxPerAddress = Infinity } = this.#limits;
    if ((connection.address?.total ?? 0) > maxPerAddress) this.#close(connection, 'address');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweep);
  }

  #accept(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    // It is gone already.
    if (remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const connection: Connection = {
      socket,
      key: keyOf(remoteAddress, remotePort),
      address: this.#addressOf(remoteAddress),
      state: 'waiting',
      sinceMs: performance.now(),
      next: undefined,
    };
    this.#connections.set(connection.key, connection);
    this.#waiting.add(connection);
    connection.address?.waiting.add(connection);
    this.#count(connection, 1, 1);
    socket.once('close', () => this.#forget(connection));
    this.#makeRoom(connection);
  }

  #makeRoom(newcomer: Connection): void {
    const { maxConnections } = this.#limits;
    if (this.#connections.size > maxConnections) {
      // The oldest one has had its chance to say something, unless all came in this very moment.
      const [longest = newcomer] = this.#waiting;
      this.#close(longest, 'total');
    }
    if (this.#unauthenticated > this.#limits.maxUnauthenticated || this.#isFull(newcomer.address)) {
      this.#enforceSoon();
    }
  }

  #isFull(address: Address | undefined): boolean {
    if (address === undefined) return false;
    const { maxUnauthenticatedPerAddress, maxPerAddress = Infinity } = this.#limits;
    return address.unauthenticated > maxUnauthenticatedPerAddress || address.total > maxPerAddress;
  }

  /**
   * Many connections may be accepted in one turn of the event loop, an honest one among them. So the limits are enforced when what those
   * have sent has been read: the honest one is being answered then, and no longer waits.
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
    for (const address of [...this.#addresses.values()]) {
      for (const longest of address.waiting) {
        if (!this.#isFull(address)) break;
        this.#close(longest, 'address');
      }
    }
    for (const longest of this.#waiting) {
      if (this.#unauthenticated <= this.#limits.maxUnauthenticated) break;
      this.#close(longest, 'unauthenticated');
    }
  }

  #closeSlow(): void {
    const nowMs = performance.now();
    const { requestTimeoutMs, answerTimeoutMs } = this.#limits;
    for (const connection of this.#connections.values()) {
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

  #close(connection: Connection, why: ConnectionRefusal): void {
    this.#countRefusal(why);
    this.#forget(connection);
    connection.socket.destroy();
  }

  /** Idempotent. */
  #forget(connection: Connection): void {
    const { state, address, key } = connection;
    if (state === 'closed') return;
    this.#setState(connection, 'closed');
    this.#count(connection, -1, state === 'authenticated' ? 0 : -1);
    this.#connections.delete(key);
    if (address !== undefined && address.total === 0) this.#addresses.delete(address.name);
  }

  #setState(connection: Connection, state: Connection['state']): void {
    const { state: before, address } = connection;
    connection.state = state;
    connection.sinceMs = performance.now();
    connection.next = undefined;
    this.#waiting.delete(connection);
    address?.waiting.delete(connection);
    if (state === 'waiting') {
      this.#waiting.add(connection);
      address?.waiting.add(connection);
    }
    if (state === 'authenticated' && before !== 'authenticated') this.#count(connection, 0, -1);
  }

  #count({ address }: Connection, total: number, unauthenticated: number): void {
    this.#unauthenticated += unauthenticated;
    if (address === undefined) return;
    address.total += total;
    address.unauthenticated += unauthenticated;
  }

  #addressOf(remoteAddress: string): Address | undefined {
    if (this.#trustedProxies?.includes(remoteAddress) === true) return undefined;
    const name = addressGroup(remoteAddress);
    let address = this.#addresses.get(name);
    if (address === undefined) {
      address = { name, total: 0, unauthenticated: 0, waiting: new Set() };
      this.#addresses.set(name, address);
    }
    return address;
  }

  /** A TLS socket is not the socket that was accepted, but has its address. */
  #find({ remoteAddress, remotePort }: Socket): Connection | undefined {
    return this.#connections.get(keyOf(remoteAddress, remotePort));
  }

  #logFields(): LogFields {
    const { maxConnections, maxUnauthenticated } = this.#limits;
    const acceptError = this.#acceptError;
    this.#acceptError = undefined;
    return {
      listener: this.#listener,
      open: this.#connections.size,
      limit: maxConnections,
      unauthenticated: this.#unauthenticated,
      unauthenticatedLimit: maxUnauthenticated,
      acceptError,
    };
  }

  #countRefusal(why: ConnectionRefusal): void {
    this.#closed.add(why);
    this.#onClosed?.(why);
  }
}

function keyOf(address: string | undefined, port: number | undefined): string {
  return `${address} ${port}`;
}
