import { Socket } from 'node:net';

/**
 * All sockets of a process read into the same memory: libuv fills it right before the callback, and whoever gets the bytes only
 * borrows them. Fresh memory for each read costs twice the CPU (docs/benchmarks.md).
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** The fields in which Node keeps the `onread` option that a socket was created with. */
interface StaticReadFields {
  readonly buffer: symbol;
  readonly callback: symbol;
}

const staticReadFields = findStaticReadFields();

function findStaticReadFields(): StaticReadFields | undefined {
  const fields = Object.getOwnPropertySymbols(new Socket());
  const buffer = fields.find((field) => field.description === 'kBuffer');
  const callback = fields.find((field) => field.description === 'kBufferCb');
  return buffer === undefined || callback === undefined ? undefined : { buffer, callback };
}

/**
 * The bytes that come out of a socket. They are borrowed by the consumer; until there is one they are kept, and the socket is paused.
 */
export class SocketInput {
  /** Whether reads go to the process's shared memory; false where this Node does not let us. */
  readonly isStatic: boolean;
  readonly #socket: Socket;
  #early: Uint8Array[] = [];
  #consumer: ((bytes: Uint8Array) => void) | undefined;

  /** @param head bytes that somebody has read already */
  constructor(socket: Socket, head: Uint8Array) {
    this.#socket = socket;
    this.#keep(head);
    for (let bytes = read(socket); bytes !== null; bytes = read(socket)) this.#keep(bytes);
    socket.on('data', (bytes: Uint8Array) => this.#take(bytes));
    socket.pause();
    this.isStatic = switchToStaticReads(socket, (count) => {
      this.#take(readBuffer.subarray(0, count));
      return this.#consumer !== undefined;
    });
  }

  /** Gives all bytes to `consumer` from now on, first those that were kept. */
  start(consumer: (bytes: Uint8Array) => void): void {
    const early = this.#early;
    this.#early = [];
    this.#consumer = consumer;
    for (const bytes of early) consumer(bytes);
    this.#socket.resume();
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#early.push(Uint8Array.from(bytes));
  }

  #take(bytes: Uint8Array): void {
    if (this.#consumer === undefined) this.#keep(bytes);
    else this.#consumer(bytes);
  }
}

function read(socket: Socket): Uint8Array | null {
  return socket.read() as Uint8Array | null;
}

/**
 * Does to an existing socket what the `onread` option of `net.connect` does to a new one: accepted sockets and TLS inside a proxy's
 * tunnel offer no other way. It leans on Node's own fields, so it looks before it leaps, and 'data' events stay as the other way.
 */
function switchToStaticReads(socket: Socket, onRead: (count: number) => boolean): boolean {
  const fields = socket as unknown as Record<symbol, unknown>;
  const { _handle: handle } = socket as unknown as {
    _handle?: { useUserBuffer?: (memory: Uint8Array) => void };
  };
  if (
    staticReadFields === undefined ||
    fields[staticReadFields.buffer] !== null ||
    typeof handle?.useUserBuffer !== 'function'
  ) {
    return false;
  }
  fields[staticReadFields.buffer] = readBuffer;
  fields[staticReadFields.callback] = onRead;
  handle.useUserBuffer(readBuffer);
  return true;
}
