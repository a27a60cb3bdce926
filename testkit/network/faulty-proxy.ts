import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** `up`: from the side that connects to the side that listens. */
export type Direction = 'up' | 'down';

const bothDirections: readonly Direction[] = ['up', 'down'];

/** How much of a delayed direction is kept before its sender is made to wait, in bytes. */
const maxDelayedBytes = 4 * 1024 * 1024;

/**
 * A TCP proxy on loopback whose network can be made bad, for connections that are open and for new
 * ones.
 */
export interface FaultyProxy extends AsyncDisposable {
  readonly port: number;
  /** Those that it has forgotten do not count: their ends have to notice by themselves. */
  readonly openCount: number;
  /**
   * Passes nothing on in these directions, FIN and RST included, and says nothing: both ends think
   * that the other one lives. What was sent meanwhile arrives after `heal`, as TCP would send it
   * again. New connections hang as well.
   */
  silence(...directions: readonly Direction[]): void;
  /**
   * Passes nothing on over the connections that are open, for ever, as a firewall that has
   * forgotten them; new ones work.
   */
  forget(): void;
  /** Passes everything on this much later, in milliseconds. */
  delay(delayMs: number): void;
  /** Resets every open connection; with `refuse` new ones too until `heal`. */
  cut(options?: { readonly refuse?: boolean }): void;
  /** The network is good again; connections that were cut or forgotten stay so. */
  heal(): void;
}

/** Starts a proxy in front of 127.0.0.1:`targetPort`. */
export async function startFaultyProxy(targetPort: number): Promise<FaultyProxy> {
  const network = new Network();
  const server = createServer(
    { noDelay: true, pauseOnConnect: true, allowHalfOpen: true },
    (near) => network.accept(near, targetPort),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get openCount() {
      return [...network.pairs].filter(({ forgotten }) => !forgotten).length;
    },
    silence: (...directions) => {
      const silent = directions.length === 0 ? bothDirections : directions;
      for (const direction of silent) network.silent.add(direction);
      network.apply();
    },
    forget: () => {
      for (const pair of network.pairs) pair.forget();
    },
    delay: (delayMs) => (network.delayMs = delayMs),
    cut: ({ refuse = false } = {}) => {
      network.refuses = refuse;
      for (const pair of network.pairs) pair.reset();
    },
    heal: () => {
      network.silent.clear();
      network.delayMs = 0;
      network.refuses = false;
      network.apply();
    },
    async [Symbol.asyncDispose]() {
      for (const pair of network.pairs) pair.reset();
      server.close();
      await once(server, 'close');
    },
  };
}

class Network {
  readonly pairs = new Set<Pair>();
  readonly silent = new Set<Direction>();
  delayMs = 0;
  refuses = false;

  accept(near: Socket, targetPort: number): void {
    if (this.refuses) {
      near.on('error', () => {});
      near.resetAndDestroy();
      return;
    }
    this.pairs.add(new Pair(this, near, targetPort));
  }

  apply(): void {
    for (const pair of this.pairs) pair.apply();
  }
}

/** One connection through the proxy. */
class Pair {
  readonly #network: Network;
  readonly #near: Socket;
  readonly #targetPort: number;
  #far: Socket | undefined;
  #pumps: readonly Pump[] = [];
  forgotten = false;
  #endings: { readonly socket: Socket; readonly hadError: boolean }[] = [];

  constructor(network: Network, near: Socket, targetPort: number) {
    this.#network = network;
    this.#near = near;
    this.#targetPort = targetPort;
    this.#watch(near);
    this.apply();
  }

  forget(): void {
    this.forgotten = true;
    this.apply();
  }

  reset(): void {
    this.#network.pairs.delete(this);
    for (const pump of this.#pumps) pump.stop();
    for (const socket of [this.#near, this.#far]) socket?.resetAndDestroy();
  }

  /** The network has changed. */
  apply(): void {
    const { silent } = this.#network;
    // A connection is made by packets in both directions.
    if (this.#far === undefined && silent.size === 0 && !this.forgotten) this.#connect();
    for (const pump of this.#pumps) pump.setSilent(this.#isSilent(pump.direction));
    this.#tellEndings();
  }

  #connect(): void {
    const far = connect({
      host: '127.0.0.1',
      port: this.#targetPort,
      noDelay: true,
      allowHalfOpen: true,
    });
    this.#far = far;
    far.pause();
    this.#watch(far);
    this.#pumps = [
      new Pump(this.#network, 'up', this.#near, far),
      new Pump(this.#network, 'down', far, this.#near),
    ];
  }

  #watch(socket: Socket): void {
    socket.on('error', () => {});
    socket.on('close', (hadError) => {
      this.#endings.push({ socket, hadError });
      this.#tellEndings();
    });
  }

  /** A silent network does not report that one end is gone. */
  #tellEndings(): void {
    const held = this.#endings.filter(({ socket }) =>
      this.#isSilent(socket === this.#near ? 'up' : 'down'),
    );
    const told = this.#endings.filter((ending) => !held.includes(ending));
    this.#endings = held;
    for (const { socket, hadError } of told) {
      if (hadError) this.reset();
      else this.#end(socket);
    }
  }

  #isSilent(direction: Direction): boolean {
    return this.forgotten || this.#network.silent.has(direction);
  }

  /** One end is closed in both directions. The other end may still have to be informed. */
  #end(ended: Socket): void {
    const other = ended === this.#near ? this.#far : this.#near;
    if (other === undefined || other.closed) this.#network.pairs.delete(this);
    else if (!this.#pumps.some((pump) => pump.waits)) other.destroySoon();
  }
}

/** An item with its due time. */
interface Delayed {
  readonly dueMs: number;
  readonly bytes: number;
  readonly act: () => void;
}

/** One direction of a connection: reads, waits, writes. */
class Pump {
  readonly direction: Direction;
  readonly #network: Network;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayed: Delayed[] = [];
  #timer: NodeJS.Timeout | undefined;
  #delayedBytes = 0;
  #silent = false;
  #full = false;
  /** Its sender has sent FIN, which is not passed on yet. */
  #ended = false;

  constructor(network: Network, direction: Direction, from: Socket, to: Socket) {
    this.#network = network;
    this.direction = direction;
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => this.#later(chunk.length, () => this.#pass(chunk)));
    from.on('end', () => {
      this.#ended = true;
      this.#tellEnd();
    });
    to.on('drain', () => {
      this.#full = false;
      this.#flow();
    });
    this.#flow();
  }

  /** Pieces are on their way. */
  get waits(): boolean {
    return this.#delayed.length > 0;
  }

  setSilent(silent: boolean): void {
    this.#silent = silent;
    this.#flow();
    this.#tellEnd();
  }

  /** A paused socket still reports its end. */
  #tellEnd(): void {
    if (this.#silent || !this.#ended) return;
    this.#ended = false;
    this.#later(0, () => this.#to.end());
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#delayed.length = 0;
  }

  #later(bytes: number, act: () => void): void {
    const { delayMs } = this.#network;
    if (delayMs === 0 && this.#delayed.length === 0) return act();
    this.#delayed.push({ dueMs: performance.now() + delayMs, bytes, act });
    this.#delayedBytes += bytes;
    if (this.#delayed.length === 1) this.#wait();
    this.#flow();
  }

  /** One timer for the first in the queue: several timers would not keep the order. */
  #wait(): void {
    const [first] = this.#delayed;
    if (first === undefined) return;
    this.#timer = setTimeout(() => this.#release(), Math.max(0, first.dueMs - performance.now()));
  }

  #release(): void {
    for (
      let first = this.#delayed[0];
      first !== undefined && first.dueMs <= performance.now() + 1;
      first = this.#delayed[0]
    ) {
      this.#delayed.shift();
      this.#delayedBytes -= first.bytes;
      first.act();
    }
    this.#wait();
    this.#flow();
  }

  #pass(chunk: Buffer): void {
    if (this.#to.write(chunk)) return;
    this.#full = true;
    this.#flow();
  }

  #flow(): void {
    const stopped = this.#silent || this.#full || this.#delayedBytes > maxDelayedBytes;
    if (stopped) this.#from.pause();
    else this.#from.resume();
  }
}
