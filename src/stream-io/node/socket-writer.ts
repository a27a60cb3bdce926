import type { Socket } from 'node:net';
import { atEndOfTurn, type TurnTask } from '../../base/end-of-turn.ts';

const bufferBytes = 64 * 1024;
const maxSpareBuffers = 64;
const spareBuffers: Buffer[] = [];

/**
 * Writes borrowed pieces to a socket. They are copied into recycled buffers, which go out once per
 * turn of the event loop, or when 64 KiB are together. While the kernel has not taken the last
 * buffer, a buffer waits until it is full, because many short ones would fill this process with
 * memory for a peer that does not read. `onTaken` gets the number of bytes that the
 * kernel has taken, and not before it has: that gives the sender new credit, so a peer that does
 * not read stalls its own sender and does not fill this process.
 */
export class SocketWriter implements TurnTask {
  readonly #socket: Socket;
  readonly #onTaken: (bytes: number) => void;
  #buffer: Buffer | undefined;
  #filled = 0;
  #isScheduled = false;
  #isEnding = false;
  /** Buffers that the kernel has not taken. */
  #untakenCount = 0;

  constructor(socket: Socket, onTaken: (bytes: number) => void) {
    this.#socket = socket;
    this.#onTaken = onTaken;
  }

  /** Takes all of `bytes`; the window of the stream bounds what is held here. */
  write(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const buffer = (this.#buffer ??= spareBuffers.pop() ?? Buffer.allocUnsafeSlow(bufferBytes));
      const pieceBytes = Math.min(bufferBytes - this.#filled, bytes.length - at);
      const piece = pieceBytes === bytes.length ? bytes : bytes.subarray(at, at + pieceBytes);
      buffer.set(piece, this.#filled);
      this.#filled += pieceBytes;
      at += pieceBytes;
      if (this.#filled === bufferBytes) this.flush();
    }
    if (this.#filled > 0) this.#schedule();
  }

  /** As `write`, for text with a character for each byte. */
  writeText(text: string): void {
    if (text.length > bufferBytes - this.#filled) {
      this.write(Buffer.from(text, 'latin1'));
      return;
    }
    this.#buffer ??= spareBuffers.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
    this.#filled += this.#buffer.write(text, this.#filled, 'latin1');
    this.#schedule();
  }

  /** Half-closes the socket once everything is written. */
  end(): void {
    this.#isEnding = true;
    this.flush();
    this.#socket.end();
  }

  /** Drops what has not been given to the socket. */
  discard(): void {
    this.#recycle(this.#buffer);
    this.#buffer = undefined;
    this.#filled = 0;
  }

  endTurn(): void {
    this.#isScheduled = false;
    if (!this.#isEnding && this.#untakenCount === 0) this.flush();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    atEndOfTurn(this);
  }

  /** Gives the socket everything at once. */
  flush(): void {
    const buffer = this.#buffer;
    const bytes = this.#filled;
    if (buffer === undefined || bytes === 0) return;
    this.#buffer = undefined;
    this.#filled = 0;
    this.#untakenCount++;
    this.#socket.write(buffer.subarray(0, bytes), (error) => {
      this.#recycle(buffer);
      this.#untakenCount--;
      if (error) return;
      // Within a turn, the kernel takes a full buffer at once. The rest waits for the turn's end.
      if (this.#untakenCount === 0 && !this.#isScheduled) this.flush();
      this.#onTaken(bytes);
    });
  }

  #recycle(buffer: Buffer | undefined): void {
    if (buffer !== undefined && spareBuffers.length < maxSpareBuffers) spareBuffers.push(buffer);
  }
}
