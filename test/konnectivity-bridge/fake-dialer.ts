import { connect, type Socket } from 'node:net';
import type { Dialer, OpenOptions } from '../../src/dialer/dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import type { Target } from '../../src/tunnel/stream-request.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Says where a target of a cluster really is; undefined where nobody speaks for the cluster. */
export type Locate = (cluster: string, target: Target) => Address | undefined;

/**
 * A dialer whose agent is a TCP socket of this process. Keeps the contract of `StreamHandler`
 * strictly: what it lends is overwritten as soon as the borrower has returned, the window is
 * counted, and misuse throws.
 */
export class FakeDialer implements Dialer {
  readonly opened: FakeStream[] = [];
  readonly #locate: Locate;
  readonly #windowBytes: number;

  constructor(locate: Locate, windowBytes = 256 * 1024) {
    this.#locate = locate;
    this.#windowBytes = windowBytes;
  }

  /** Everything to this address. */
  static to(address: Address, windowBytes?: number): FakeDialer {
    return new FakeDialer(() => address, windowBytes);
  }

  /** Streams that are not over. */
  get live(): readonly FakeStream[] {
    return this.opened.filter((stream) => !stream.isOver);
  }

  open({ cluster, target }: OpenOptions, handler: StreamHandler): TunnelStream {
    const address = this.#locate(cluster, target);
    const stream = new FakeStream(this.opened.length + 1, handler, this.#windowBytes);
    this.opened.push(stream);
    if (address) stream.connect(address);
    else stream.end(new TunnelError('no_agent', `no agent of cluster ${cluster} is connected`));
    return stream;
  }

  async drain(): Promise<void> {}
}

export class FakeStream implements TunnelStream {
  readonly number: number;
  /** Why it was reset by its user. */
  resetBy: TunnelError | undefined;
  isFinished = false;
  isStopped = false;
  isOver = false;
  /** Bytes that were handed over and not given back. */
  lentBytes = 0;
  mostLentBytes = 0;
  readonly #handler: StreamHandler;
  readonly #windowBytes: number;
  #socket: Socket | undefined;
  #isOpen = false;
  #inVerb = false;

  constructor(number: number, handler: StreamHandler, windowBytes: number) {
    this.number = number;
    this.#handler = handler;
    this.#windowBytes = windowBytes;
  }

  connect(address: Address): void {
    const socket = connect({ ...address, noDelay: true, allowHalfOpen: true });
    this.#socket = socket;
    socket.on('connect', () => {
      this.#isOpen = true;
      this.#handler.onOpened?.();
    });
    socket.on('data', (bytes: Buffer) => this.#lend(bytes));
    socket.on('end', () => this.#handler.onFin());
    socket.on('drain', () => this.#handler.onWritable());
    socket.on('error', (error: NodeJS.ErrnoException) => this.end(asTunnelError(error, address)));
    socket.on('close', () => this.end(undefined));
  }

  /** Tells the handler that it is over, in a later turn. */
  end(error: TunnelError | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    setImmediate(() => this.#handler.onClose(error));
  }

  write(bytes: Uint8Array): boolean {
    if (!this.#isOpen) throw new Error('write before onOpened');
    if (this.isFinished) throw new Error('write after fin');
    if (bytes.length === 0) throw new Error('nothing to write');
    return this.#verb(() => this.isOver || this.#socket!.write(Uint8Array.from(bytes)));
  }

  fin(): void {
    this.isFinished = true;
    this.#verb(() => this.#socket?.end());
  }

  reset(error: TunnelError): void {
    if (this.isOver) return;
    this.resetBy = error;
    this.#verb(() => this.#socket?.resetAndDestroy());
    this.end(error);
  }

  consumed(bytes: number): void {
    if (bytes <= 0 || bytes > this.lentBytes) {
      throw new Error(`${bytes} bytes given back of ${this.lentBytes}`);
    }
    this.lentBytes -= bytes;
    if (this.lentBytes < this.#windowBytes) this.#verb(() => this.#socket?.resume());
  }

  /** The socket is read on, so that its end shows, and nothing of it is handed over. */
  stopReceiving(): void {
    this.isStopped = true;
    this.#verb(() => this.#socket?.resume());
  }

  #lend(bytes: Buffer): void {
    if (this.#inVerb) throw new Error('the fake calls back from inside a verb');
    // In two pieces: where a piece starts and ends says nothing.
    const middle = Math.ceil(bytes.length / 2);
    for (const piece of [bytes.subarray(0, middle), bytes.subarray(middle)]) {
      if (piece.length === 0 || this.isOver || this.isStopped) continue;
      this.lentBytes += piece.length;
      this.mostLentBytes = Math.max(this.mostLentBytes, this.lentBytes);
      this.#handler.onData(piece);
      piece.fill(0xee);
    }
    if (this.lentBytes >= this.#windowBytes && !this.isStopped) this.#socket!.pause();
  }

  #verb<T>(act: () => T): T {
    this.#inVerb = true;
    try {
      return act();
    } finally {
      this.#inVerb = false;
    }
  }
}

function asTunnelError(error: NodeJS.ErrnoException, { host, port }: Address): TunnelError {
  if (error.code === 'ECONNREFUSED') {
    return new TunnelError('refused', `dial tcp ${host}:${port}: connect: connection refused`);
  }
  return new TunnelError('target_reset', `read tcp ${host}:${port}: connection reset by peer`);
}
