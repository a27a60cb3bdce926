import { defaultWindowBytes, max31Bits } from './frame.ts';
import type { Http2Output } from './http2-output.ts';
import type { PeerSettings } from './peer-settings.ts';
import type { Http2ServerStream } from './server-stream.ts';

/**
 * Lets the streams of a connection send in turn, a frame each, as far as the windows and the output
 * allow. So a small message waits for at most one frame of each other stream.
 */
export class SendScheduler {
  readonly #output: Http2Output;
  readonly #settings: PeerSettings;
  #windowBytes = defaultWindowBytes;
  #first: Http2ServerStream | undefined;
  #last: Http2ServerStream | undefined;

  constructor(output: Http2Output, settings: PeerSettings) {
    this.#output = output;
    this.#settings = settings;
  }

  /** The stream may have something to send. */
  ready(stream: Http2ServerStream): void {
    if (stream.isQueued || !stream.canSend) return;
    this.#enqueue(stream);
    this.#output.wake();
  }

  /**
   * Copies borrowed bytes of a stream without a queue into the output, unless other streams wait.
   * Returns how many were copied.
   */
  sendNow(stream: Http2ServerStream, bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#first === undefined && this.#output.room > 0) {
      const windowBytes = Math.min(this.#windowBytes, stream.sendWindowBytes);
      const count = Math.min(windowBytes, this.#settings.maxFrameBytes, bytes.length - at);
      if (count <= 0) break;
      stream.writeBorrowed(bytes, at, count);
      this.#windowBytes -= count;
      at += count;
    }
    return at;
  }

  /** The client raises the window of the connection. Returns false when it exceeds 2^31 - 1. */
  addWindow(bytes: number): boolean {
    this.#windowBytes += bytes;
    if (this.#first !== undefined) this.#output.wake();
    return this.#windowBytes <= max31Bits;
  }

  /** Fills the output. */
  pull(): void {
    const output = this.#output;
    while (output.room > 0) {
      const stream = this.#first;
      if (stream === undefined) return;
      if (stream.needsConnectionWindow && this.#windowBytes <= 0) return;
      this.#first = stream.nextReady;
      if (this.#first === undefined) this.#last = undefined;
      stream.nextReady = undefined;
      stream.isQueued = false;
      if (!stream.canSend) continue;
      const maxBytes = Math.min(this.#windowBytes, this.#settings.maxFrameBytes);
      this.#windowBytes -= stream.writeNext(maxBytes);
      if (stream.canSend) this.#enqueue(stream);
    }
    if (this.#first !== undefined) output.wake();
  }

  #enqueue(stream: Http2ServerStream): void {
    stream.isQueued = true;
    if (this.#last === undefined) this.#first = stream;
    else this.#last.nextReady = stream;
    this.#last = stream;
  }
}
