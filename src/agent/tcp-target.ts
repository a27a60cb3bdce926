import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { keepAlive } from '../base/net/keep-alive.ts';
import type { HostPort } from '../base/net/host-port.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import { targetReset } from './dial-error.ts';
import { type DialOptions, dialTarget } from './dial-target.ts';
import { SocketWriter } from './socket-writer.ts';
import { UnacknowledgedWatch } from './unacknowledged-watch.ts';

/**
 * One buffer for what all targets send: a read is copied into the stream's slab before the callback returns, so nobody
 * keeps it. A fresh buffer for each read costs more than twice the CPU (docs/benchmarks.md).
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** How long a target may take nothing of the last bytes of an ended stream, in milliseconds. */
const lingerMs = 60_000;

/** How much of what a target sends is still read, and dropped, after a stop: a target that is done shows its end within it. In bytes. */
const readAfterStopBytes = 64 * 1024;

/**
 * How long a connection whose client has closed stays open once the kernel has all bytes of the client: one second, and one more for
 * each 128 KiB that the client wrote, but at most 30, in milliseconds. Then it is closed. With unread bytes of the target that is a
 * RST, which discards what the kernel has not delivered yet, and Node cannot tell how much that is.
 */
function closeDelayMs(writtenBytes: number): number {
  return Math.min(1_000 * (1 + Math.floor(writtenBytes / (128 * 1024))), 30_000);
}

// Made once: an abort without a reason makes one each time, with a stack.
const streamEnded = new Error('the stream has ended');

/**
 * The connections that stand. One may outlast its stream, while its target is still reading the last bytes: an agent that
 * leaves waits for it.
 */
export class OpenTargets {
  /** Finds those whose target is gone without a word. */
  readonly watch: UnacknowledgedWatch;
  readonly #targets = new Set<TcpTarget>();
  #waiters: (() => void)[] = [];

  constructor(clock: Clock) {
    this.watch = new UnacknowledgedWatch(clock);
  }

  get size(): number {
    return this.#targets.size;
  }

  add(target: TcpTarget): void {
    this.#targets.add(target);
  }

  delete(target: TcpTarget): void {
    this.#targets.delete(target);
    if (this.#targets.size > 0) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** Resolves when none is left, or when the signal aborts. */
  async closed(signal: AbortSignal): Promise<void> {
    if (this.#targets.size === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
  }
}

/** A stream's other half on the agent: the TCP connection to its target. */
export class TcpTarget implements StreamHandler {
  readonly #stream: Stream;
  readonly #destination: HostPort;
  readonly #open: OpenTargets;
  /** While the dial goes on. */
  #dialing: AbortController | undefined;
  #socket: Socket | undefined;
  #writer: SocketWriter | undefined;
  readonly #clock: Clock;
  /** The client wants no more. */
  #stopped = false;
  #leftToReadBytes = readAfterStopBytes;
  #closeTimer: Timer | undefined;

  /** Starts to dial; the stream is accepted or reset with the reason. */
  constructor(stream: Stream, destination: HostPort, options: DialOptions, open: OpenTargets) {
    this.#stream = stream;
    this.#open = open;
    this.#destination = destination;
    this.#clock = options.clock;
    this.#dial(options).catch((thrown: unknown) => stream.reset(TunnelError.from(thrown)));
  }

  onData(bytes: Uint8Array): void {
    this.#writer!.write(bytes);
  }

  onFin(): void {
    this.#writer!.end();
  }

  onWritable(): void {
    this.#socket!.resume();
  }

  /** The semantics of close(2): what the client wrote is delivered, the target is not read, and what it still sends gets RST. */
  onStop(): void {
    this.#stopped = true;
    // It may be paused, and then its end does not show.
    this.#socket?.resume();
    this.#closeSoon();
  }

  onClose(error: TunnelError | undefined): void {
    this.#dialing?.abort(streamEnded);
    if (error === undefined) {
      // Both directions are complete, but a slow target may still be reading: the socket closes itself when it has all.
      this.#socket?.setTimeout(lingerMs, () => this.#socket?.resetAndDestroy());
      return;
    }
    this.#writer?.discard();
    // A stream that was cut must not look complete to the target: RST instead of FIN.
    this.#socket?.resetAndDestroy();
  }

  async #dial(options: DialOptions): Promise<void> {
    const dialing = new AbortController();
    this.#dialing = dialing;
    try {
      const connectTo = (address: string) => this.#connect(address);
      const dialed = await dialTarget(this.#destination, options, connectTo, dialing.signal);
      if (dialing.signal.aborted) dialed.socket.resetAndDestroy();
      else this.#adopt(dialed.socket, dialed.address);
    } catch (thrown) {
      if (!dialing.signal.aborted) throw thrown;
    } finally {
      this.#dialing = undefined;
    }
  }

  #connect(address: string): Socket {
    return connect({
      host: address,
      port: this.#destination.port,
      noDelay: true,
      allowHalfOpen: true,
      onread: { buffer: readBuffer, callback: (bytes) => this.#onRead(bytes) },
    });
  }

  #adopt(socket: Socket, address: string): void {
    const stream = this.#stream;
    this.#socket = socket;
    keepAlive(socket);
    this.#writer = new SocketWriter(socket, (bytes) => stream.consumed(bytes));
    this.#open.add(this);
    this.#open.watch.add(socket, (silentMs) => {
      const seconds = Math.round(silentMs / 1000);
      const cause = new Error(`read: connection timed out: no acknowledgement for ${seconds} s`);
      stream.reset(targetReset(address, this.#destination.port, cause));
      socket.destroy();
    });
    socket.on('close', () => {
      this.#closeTimer?.cancel();
      this.#open.delete(this);
    });
    socket.on('end', () => stream.fin());
    socket.on('finish', () => this.#closeSoon());
    socket.on('error', (error) => {
      stream.reset(targetReset(address, this.#destination.port, error));
    });
    stream.accept();
    socket.resume();
  }

  /** Once nothing more is read, and the kernel has all that was written. */
  #closeSoon(): void {
    const socket = this.#socket;
    if (!this.#stopped || socket?.writableFinished !== true || socket.destroyed) return;
    const delayMs = closeDelayMs(socket.bytesWritten);
    this.#closeTimer ??= this.#clock.setTimer(delayMs, () => socket.destroy());
  }

  /** True: read on. */
  #onRead(bytes: number): boolean {
    if (this.#stopped) {
      this.#leftToReadBytes -= bytes;
      return this.#leftToReadBytes > 0;
    }
    // A target that speaks first may do so before the promise of the connect has settled.
    return this.#stream.write(readBuffer.subarray(0, bytes));
  }
}
