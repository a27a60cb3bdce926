import type { BusyWindows, WindowHolder } from './busy-windows.ts';
import { ReceiveWindow } from './receive-window.ts';

/** The receiving half of a stream: its window, and the length that the head has announced. */
export class StreamReceiver implements WindowHolder {
  shares = 0;
  hasBusyWindow = false;
  readonly #window: ReceiveWindow;
  readonly #busyWindows: BusyWindows | undefined;
  /** Bytes of the body that are still to come; undefined: the head does not tell. */
  #leftBytes: number | undefined;
  #heldBytes = 0;
  isPaused = false;

  constructor(
    windowBytes: number,
    contentLength: number | undefined,
    busyWindows: BusyWindows | undefined,
  ) {
    this.#window = new ReceiveWindow(windowBytes);
    this.#leftBytes = contentLength;
    this.#busyWindows = busyWindows;
  }

  /** Bytes that have arrived while the stream was paused. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** All of the body has arrived, if it has a length. */
  get isComplete(): boolean {
    return this.#leftBytes === undefined || this.#leftBytes === 0;
  }

  /** A DATA frame begins. False: the client sent more than its window. */
  receive(lengthBytes: number): boolean {
    return this.#window.receive(lengthBytes);
  }

  /** A piece of the body. False: the body is longer than announced. */
  count(bytes: number): boolean {
    if (this.#leftBytes === undefined) return true;
    this.#leftBytes -= bytes;
    return this.#leftBytes >= 0;
  }

  hold(lengthBytes: number): void {
    this.#heldBytes += lengthBytes;
  }

  /** Returns the held bytes and forgets them. */
  takeHeld(): number {
    const heldBytes = this.#heldBytes;
    this.#heldBytes = 0;
    return heldBytes;
  }

  /** The reader has taken bytes. Returns the increment for a WINDOW_UPDATE, or 0. */
  consume(lengthBytes: number): number {
    const window = this.#window;
    if (!window.consume(lengthBytes)) return 0;
    const { sizeBytes, consumedBytes } = window;
    const wantedBytes = this.#busyWindows?.windowBytesFor(this, sizeBytes, consumedBytes);
    return window.takeIncrement(wantedBytes);
  }

  /** The stream has ended. Idempotent. */
  close(): void {
    this.#busyWindows?.release(this);
  }
}
