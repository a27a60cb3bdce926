import { connect, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { keepAlive } from '../base/net/keep-alive.ts';
import type { HostPort } from '../base/net/host-port.ts';
import { releaseSocket } from '../base/net/release-socket.ts';
import { SocketPump } from '../stream-io/node/socket-pump.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import { targetReset } from './dial-error.ts';
import { type DialedTarget, type DialOptions, dialTarget } from './dial-target.ts';
import type { OpenTargets } from './open-targets.ts';

// Made once, because an abort without a reason makes an error each time, with a stack.
const streamEnded = new Error('the stream has ended');

/**
 * The agent's side of a stream: dials the target, then moves bytes between the stream and the
 * connection.
 */
export class TargetConnection implements StreamHandler {
  readonly #stream: Stream;
  readonly #destination: HostPort;
  readonly #clock: Clock;
  readonly #openTargets: OpenTargets;
  /** Cancels the dial; undefined once the dial has ended. */
  #dial: AbortController | undefined = new AbortController();
  #pump: SocketPump | undefined;
  /** The client asked for no more bytes before there was a connection. */
  #isStopped = false;

  /** Starts to dial. The stream is accepted, or reset with the reason. */
  constructor(stream: Stream, destination: HostPort, options: DialOptions, open: OpenTargets) {
    this.#stream = stream;
    this.#destination = destination;
    this.#clock = options.clock;
    this.#openTargets = open;
    void this.#connect(this.#dial!, options);
  }

  onData(bytes: Uint8Array): void {
    this.#pump!.onData(bytes);
  }

  onFin(): void {
    this.#pump!.onFin();
  }

  onWritable(): void {
    this.#pump!.onWritable();
  }

  onStop(): void {
    this.#isStopped = true;
    this.#pump?.onStop();
  }

  onClose(error: TunnelError | undefined): void {
    this.#dial?.abort(streamEnded);
    this.#pump?.onClose(error);
  }

  /** Never rejects. */
  async #connect(dial: AbortController, options: DialOptions): Promise<void> {
    try {
      const connectTo = (address: string): Socket => this.#connectTo(address);
      const dialed = await dialTarget(this.#destination, options, connectTo, dial);
      // The stream may have ended between the connection and this continuation.
      if (dial.signal.reason === streamEnded) dialed.socket.resetAndDestroy();
      else this.#start(dialed);
    } catch (thrown) {
      if (dial.signal.reason !== streamEnded) this.#stream.reset(TunnelError.from(thrown));
    } finally {
      this.#dial = undefined;
    }
  }

  #connectTo(address: string): Socket {
    const { port } = this.#destination;
    return connect({ host: address, port, noDelay: true, allowHalfOpen: true });
  }

  #start({ socket, address }: DialedTarget): void {
    const stream = this.#stream;
    const { port } = this.#destination;
    keepAlive(socket);
    const pump = new SocketPump(socket, {
      clock: this.#clock,
      toTunnelError: (error) => targetReset(address, port, error),
    });
    pump.bind(stream);
    this.#pump = pump;
    this.#openTargets.add(socket, (silentMs) => {
      const seconds = Math.round(silentMs / 1000);
      const cause = new Error(`read: connection timed out: no acknowledgement for ${seconds} s`);
      stream.reset(targetReset(address, port, cause));
      socket.destroy();
    });
    socket.on('close', () => releaseSocket(socket));
    stream.accept();
    if (this.#isStopped) pump.onStop();
    pump.onOpened();
  }
}
