import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../../base/clock.ts';
import { useStaticReads } from '../../base/net/static-reads.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../tunnel/stream-handler.ts';
import { SocketWriter } from './socket-writer.ts';

/**
 * How long the peer of the socket may take none of the last bytes of an ended stream, in
 * milliseconds.
 */
const lingerMs = 60_000;

/**
 * How many bytes of the socket are still read, and dropped, after the other end of the stream asked
 * for no more. A peer that has finished shows its end within them.
 */
const readAfterStopBytes = 64 * 1024;

/**
 * How long a connection whose other end has closed stays open once the kernel has all bytes: one
 * second, and one more for each 128 KiB that were written, but at most 30 s. In milliseconds. Then
 * it is closed. If the peer's bytes are unread, closing means a RST, which discards what the kernel
 * has not delivered yet, and Node cannot tell how much that is.
 */
function closeDelayMs(writtenBytes: number): number {
  return Math.min(1_000 * (1 + Math.floor(writtenBytes / (128 * 1024))), 30_000);
}

export interface SocketPumpOptions {
  readonly clock: Clock;
  /**
   * Translates an error of the socket for the other end of the stream (default: `reset` with Node's
   * sentence).
   */
  readonly toTunnelError?: (error: Error) => TunnelError;
}

/**
 * Moves bytes between a stream and a connected socket, both ways, until both have ended.
 * Half-close, resets and backpressure pass through: FIN becomes FIN, a reset becomes a RST, and the
 * peer of a socket that does not read stalls the sender of the stream.
 *
 * The end that opens streams passes the pump as the stream's handler, and reading starts when the
 * stream is open:
 *
 *     const pump = new SocketPump(socket, { clock });
 *     pump.bind(dialer.open(options, pump));
 *
 * The end that accepts a stream binds the pump, accepts the stream and calls `onOpened`.
 *
 * The socket must allow half-open connections (`allowHalfOpen`), and no other code may read it,
 * unless it passes all bytes to `push` and does not call `onOpened`. A stream that is refused resets the socket; a front that answers its client in that case handles
 * `onClose` itself until `onOpened`.
 */
export class SocketPump implements StreamHandler {
  readonly socket: Socket;
  readonly #clock: Clock;
  readonly #writer: SocketWriter;
  #stream: TunnelStream | undefined;
  /** The other end of the stream wants no more bytes. */
  #isStopped = false;
  #leftToReadBytes = readAfterStopBytes;
  #closeTimer: Timer | undefined;

  constructor(socket: Socket, { clock, toTunnelError = socketError }: SocketPumpOptions) {
    this.socket = socket;
    this.#clock = clock;
    this.#writer = new SocketWriter(socket, (bytes) => this.#stream?.consumed(bytes));
    socket.on('end', () => this.#stream?.fin());
    socket.on('finish', () => this.#closeSoon());
    socket.on('error', (error) => this.#stream?.reset(toTunnelError(error)));
  }

  /** Names the stream; to be called in the same turn as the constructor. */
  bind(stream: TunnelStream): void {
    this.#stream = stream;
  }

  /**
   * Starts to read the socket. The end that accepts the stream calls this after `Stream.accept`.
   */
  onOpened(): void {
    const { socket } = this;
    const onRead = (bytes: Uint8Array): boolean => this.push(bytes);
    let isWanted = true;
    // A peer that speaks first may do so before this.
    while (socket.readableLength > 0) isWanted = onRead(socket.read() as Buffer);
    if (!useStaticReads(socket, onRead)) {
      socket.on('data', (bytes: Buffer) => void (onRead(bytes) || socket.pause()));
    }
    if (isWanted) socket.resume();
  }

  /** Sends bytes of the socket through the stream. False: pause the socket until `onWritable`. */
  push(bytes: Uint8Array): boolean {
    if (this.#isStopped) {
      this.#leftToReadBytes -= bytes.length;
      return this.#leftToReadBytes > 0;
    }
    return this.#stream!.write(bytes);
  }

  onData(bytes: Uint8Array): void {
    this.#writer.write(bytes);
  }

  onFin(): void {
    this.#writer.end();
  }

  onWritable(): void {
    this.socket.resume();
  }

  /**
   * Works like close(2): the other end's bytes are delivered, the socket is read no more, and
   * further bytes of the peer get a RST.
   */
  onStop(): void {
    this.#isStopped = true;
    // A paused socket does not show its end.
    this.socket.resume();
    this.#closeSoon();
  }

  onClose(error: TunnelError | undefined): void {
    const { socket } = this;
    if (error === undefined) {
      // Both directions are complete, but a slow peer may still be reading: the socket closes
      // itself when the peer has all bytes.
      socket.setTimeout(lingerMs, () => reset(socket));
      return;
    }
    this.#writer.discard();
    // A stream that was cut must not look complete to the peer: RST instead of FIN.
    reset(socket);
  }

  /**
   * Closes the socket a while after the kernel has all that was written, if nothing more is read.
   */
  #closeSoon(): void {
    const { socket } = this;
    if (!this.#isStopped || !socket.writableFinished || socket.destroyed) return;
    if (this.#closeTimer !== undefined) return;
    const delayMs = closeDelayMs(socket.bytesWritten);
    const timer = this.#clock.setTimer(delayMs, () => socket.destroy());
    this.#closeTimer = timer;
    socket.on('close', () => timer.cancel());
  }
}

function socketError(cause: Error): TunnelError {
  return new TunnelError('reset', `the connection broke off: ${cause.message}`, { cause });
}

/** Ends a connection so that its peer does not take it for complete. */
function reset(socket: Socket): void {
  // Node resets only TCP. With TLS, the missing close_notify tells the peer.
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}
