import type { Socket } from 'node:net';
import { addressGroup } from '../net/address-group.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** A connection of a listener. It is authenticated once it has shown a valid credential. */
export interface Connection {
  readonly socket: Socket;
  /** The addresses and ports of both ends, as `keyOf` joins them. */
  readonly key: string;
  /** Undefined for a trusted proxy. */
  readonly address: ClientAddress | undefined;
  state: 'waiting' | 'answering' | 'authenticated' | 'closed';
  /** When the connection entered this state. */
  sinceMs: number;
  /** A request that arrived while an answer was still being written. */
  next: (() => void) | undefined;
}

/** The connections of one client address (IPv6: of one /64). */
export interface ClientAddress {
  readonly name: string;
  total: number;
  unauthenticated: number;
  /** The connections that wait for a request, the longest wait first. */
  readonly waiting: Set<Connection>;
}

/** Counts the connections of one listener by state and by client address. */
export class ConnectionTable {
  readonly #trustedProxies: TrustedProxies | undefined;
  readonly #connections = new Map<string, Connection>();
  readonly #addresses = new Map<string, ClientAddress>();
  readonly #waiting = new Set<Connection>();
  #unauthenticated = 0;

  constructor(trustedProxies: TrustedProxies | undefined) {
    this.#trustedProxies = trustedProxies;
  }

  get size(): number {
    return this.#connections.size;
  }

  /** How many connections are not authenticated. */
  get unauthenticated(): number {
    return this.#unauthenticated;
  }

  /** All connections that wait for a request, the longest wait first. */
  get waiting(): ReadonlySet<Connection> {
    return this.#waiting;
  }

  connections(): Iterable<Connection> {
    return this.#connections.values();
  }

  addresses(): Iterable<ClientAddress> {
    return this.#addresses.values();
  }

  /**
   * Adds an accepted socket, which waits for its first request. Undefined when its client has
   * already gone.
   */
  add(socket: Socket): Connection | undefined {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) return undefined;
    const connection: Connection = {
      socket,
      key: keyOf(socket),
      address: this.#addressOf(remoteAddress),
      state: 'waiting',
      sinceMs: performance.now(),
      next: undefined,
    };
    this.#connections.set(connection.key, connection);
    this.#waiting.add(connection);
    connection.address?.waiting.add(connection);
    this.#count(connection, 1, 1);
    return connection;
  }

  /**
   * The open connection of a socket. A TLS socket is not the socket that was accepted, but it has
   * the same addresses and ports. After a socket is closed, another connection may have them.
   */
  find(socket: Socket): Connection | undefined {
    return socket.destroyed ? undefined : this.#connections.get(keyOf(socket));
  }

  setState(connection: Connection, state: Connection['state']): void {
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

  /** Idempotent. */
  remove(connection: Connection): void {
    const { state, address, key } = connection;
    if (state === 'closed') return;
    this.setState(connection, 'closed');
    this.#count(connection, -1, state === 'authenticated' ? 0 : -1);
    // A client that cuts its connection can connect from the same port before the cut is noticed.
    if (this.#connections.get(key) === connection) this.#connections.delete(key);
    if (address !== undefined && address.total === 0) this.#addresses.delete(address.name);
  }

  #count({ address }: Connection, total: number, unauthenticated: number): void {
    this.#unauthenticated += unauthenticated;
    if (address === undefined) return;
    address.total += total;
    address.unauthenticated += unauthenticated;
  }

  #addressOf(remoteAddress: string): ClientAddress | undefined {
    if (this.#trustedProxies?.includes(remoteAddress) === true) return undefined;
    const name = addressGroup(remoteAddress);
    let address = this.#addresses.get(name);
    if (address === undefined) {
      address = { name, total: 0, unauthenticated: 0, waiting: new Set() };
      this.#addresses.set(name, address);
    }
    return address;
  }
}

function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}
