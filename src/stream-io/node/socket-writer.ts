import type { Socket } from 'node:net';

const bufferBytes = 64 * 1024;
const maxSpare = 64;
const spare: Buffer[] = [];

/**
 * Writes borrowed pieces to a target's socket: they are copied into recycled buffers and go out once per turn of the event
 * loop, or when 64 KiB are together. `onTaken` says how many bytes the kernel has taken, and only then: that is what
 * gives the sender new credit, so a target that does not read stalls its own sender and fills nothing of ours.
 */
export class SocketWriter {
  readonly #socket: Socket;
  readonly #onTaken: (bytes: number) => void;
  #buffer: Buffer | undefined;
  #filled = 0;
  #scheduled = false;
  #ending = false;

  constructor(socket: Socket, onTaken: (bytes: number) => void) {
    this.#socket = socket;
    this.#onTaken = onTaken;
  }

  /** Takes all of `bytes`; the window of the stream bounds what is held here. */
  write(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const buffer = (this.#buffer ??= spare.pop() ?? Buffer.allocUnsafeSlow(bufferBytes));
      const pieceBytes = Math.min(bufferBytes - this.#filled, bytes.length - at);
      const piece = pieceBytes === bytes.length ? bytes : bytes.subarray(at, at + pieceBytes);
      buffer.set(piece, this.#filled);
      this.#filled += pieceBytes;
      at += pieceBytes;
      if (this.#filled === bufferBytes) this.#flush();
    }
    if (this.#filled > 0) this.#schedule();
  }

  /** Half-closes the socket once everything is written. */
  end(): void {
    this.#ending = true;
    this.#flush();
    this.#socket.end();
  }

  /** Forgets what has not been given to the socket. */
  discard(): void {
    this.#recycle(this.#buffer);
    this.#buffer = undefined;
    this.#filled = 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#ending) this.#flush();
    });
  }

  #flush(): void {
    const buffer = this.#buffer;
    const bytes = this.#filled;
    if (buffer === undefined || bytes === 0) return;
    this.#buffer = undefined;
    this.#filled = 0;
    this.#socket.write(buffer.subarray(0, bytes), (error) => {
      this.#recycle(buffer);
      if (!error) this.#onTaken(bytes);
    });
  }

  #recycle(buffer: Buffer | undefined): void {
    if (buffer !== undefined && spare.length < maxSpare) spare.push(buffer);
  }
}
