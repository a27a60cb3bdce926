import type { Socket } from 'node:net';
import { useStaticReads } from './static-reads.ts';

/**
 * The bytes that a socket receives. The consumer borrows them. Until there is a consumer they are
 * kept, and the socket is paused.
 */
export class SocketInput {
  /** Whether reads go to the process's shared memory; false where this Node does not let us. */
  readonly isStatic: boolean;
  readonly #socket: Socket;
  #early: Uint8Array[] | undefined;
  #consumer: ((bytes: Uint8Array) => void) | undefined;

  /** @param head bytes that were read already */
  constructor(socket: Socket, head: Uint8Array) {
    this.#socket = socket;
    this.#keep(head);
    for (let bytes = read(socket); bytes !== null; bytes = read(socket)) this.#keep(bytes);
    socket.pause();
    this.isStatic = useStaticReads(socket, (bytes) => {
      this.#take(bytes);
      return this.#consumer !== undefined;
    });
    if (!this.isStatic) socket.on('data', (bytes: Uint8Array) => this.#take(bytes)).pause();
  }

  /** Gives all bytes to `consumer` from now on, beginning with the bytes that were kept. */
  start(consumer: (bytes: Uint8Array) => void): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    this.#consumer = consumer;
    for (const bytes of early) consumer(bytes);
    this.#socket.resume();
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length > 0) (this.#early ??= []).push(Uint8Array.from(bytes));
  }

  #take(bytes: Uint8Array): void {
    if (this.#consumer === undefined) this.#keep(bytes);
    else this.#consumer(bytes);
  }
}

function read(socket: Socket): Uint8Array | null {
  return socket.read() as Uint8Array | null;
}
