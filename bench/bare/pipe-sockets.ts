import type { Socket } from 'node:net';
import { SocketSender, type SenderOwner } from '../../src/base/net/socket-sender.ts';
import { useStaticReads } from '../../src/base/net/static-reads.ts';

/** Passes bytes on in both directions until one socket is closed, which closes the other one. */
export function pipeSockets(one: Socket, other: Socket): void {
  new Direction(one, other).start();
  new Direction(other, one).start();
}

/** @param onRead gets borrowed bytes; false: stop reading until `socket.resume()` */
export function readInto(socket: Socket, onRead: (bytes: Uint8Array) => boolean): void {
  // These bytes came before this call.
  while (socket.readableLength > 0) onRead(socket.read() as Buffer);
  if (!useStaticReads(socket, onRead)) throw new Error('this Node has no reads into shared memory');
  socket.resume();
}

/**
 * One direction, at the lowest cost that is known for Node: reads into shared memory, and gathered
 * writes of 64 KiB or of all bytes of a turn of the event loop (docs/benchmarks.md).
 */
class Direction implements SenderOwner {
  readonly canPull = true;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #sender: SocketSender;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    this.#sender = new SocketSender(to, this);
  }

  start(): void {
    const from = this.#from;
    from.on('error', () => this.#to.destroy());
    from.on('close', () => this.#to.end());
    this.#to.on('close', () => this.#sender.destroy());
    readInto(from, (bytes) => this.#onRead(bytes));
  }

  /** There is room again after `#onRead` returned false. */
  pull(): void {
    this.#from.resume();
  }

  onDrained(): void {}

  /** @returns false: stop reading until there is room */
  #onRead(bytes: Uint8Array): boolean {
    const sender = this.#sender;
    sender.output.copy(bytes, 0, bytes.length);
    sender.written();
    return sender.room > 0;
  }
}
