import type { ControlWriter } from './control-writer.ts';
import { defaultWindowBytes } from './frame.ts';
import { Http2Error } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import { ReceiveWindow } from './receive-window.ts';

/** A connection's window is so many windows of a stream, so that few WINDOW_UPDATEs are needed. */
const windowsPerConnection = 4;

/**
 * The receive window of a connection. It is given back on arrival, because a stream that is not
 * read must not hold up the others. The windows of the streams bound what such streams hold, and
 * `maxHeldBytes` bounds them together.
 */
export class ConnectionWindow {
  readonly sizeBytes: number;
  readonly #window: ReceiveWindow;
  readonly #maxHeldBytes: number;
  readonly #control: ControlWriter;
  #heldBytes = 0;
  #withheldBytes = 0;
  #isClosed = false;

  constructor(limits: Http2Limits, control: ControlWriter) {
    this.sizeBytes = Math.max(windowsPerConnection * limits.windowBytes, defaultWindowBytes + 1);
    this.#window = new ReceiveWindow(this.sizeBytes);
    this.#maxHeldBytes = limits.maxHeldBytes;
    this.#control = control;
  }

  /** @throws Http2Error the client sent more than the window */
  receive(bytes: number): void {
    if (!this.#window.receive(bytes)) {
      throw new Http2Error('FLOW_CONTROL_ERROR', 'more DATA than the window of the connection');
    }
    this.#return(bytes);
  }

  /** The bytes that have arrived for paused streams have changed. */
  heldChanged(bytes: number): void {
    this.#heldBytes += bytes;
    if (this.#withheldBytes === 0 || this.#heldBytes > this.#maxHeldBytes) return;
    const withheldBytes = this.#withheldBytes;
    this.#withheldBytes = 0;
    this.#return(withheldBytes);
  }

  /** The connection has ended. No more window is given back. */
  close(): void {
    this.#isClosed = true;
  }

  #return(bytes: number): void {
    if (this.#isClosed) return;
    if (this.#heldBytes > this.#maxHeldBytes) {
      this.#withheldBytes += bytes;
      return;
    }
    if (this.#window.consume(bytes)) this.#control.windowUpdate(0, this.#window.takeIncrement());
  }
}
