import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { HttpExchange } from '../../http-exchange/http-exchange.ts';
import { SocketPump } from '../../stream-io/node/socket-pump.ts';
import type { TunnelError } from '../../tunnel/errors.ts';
import type { RawConnection } from './client-side.ts';

/** A client's connection after a 101: bytes of another protocol, with half-close. */
export class UpgradedConnection implements RawConnection {
  /** Both directions have ended in order. */
  isComplete = false;
  readonly #socket: Socket;
  readonly #pump: SocketPump;

  /** @param socket is read by the owner, who calls `push` */
  constructor(socket: Socket, exchange: HttpExchange, clock: Clock) {
    this.#socket = socket;
    this.#pump = new SocketPump(socket, { clock });
    this.#pump.bind({
      number: 0,
      write: (bytes) => exchange.write(bytes),
      fin: () => exchange.end(),
      reset: (error) => exchange.reset(error),
      consumed: (bytes) => exchange.consumed(bytes),
      stopReceiving: () => {},
    });
  }

  /** Sends what the client has sent. The socket rests while the exchange has no room. */
  push(bytes: Uint8Array): void {
    if (this.#pump.push(bytes)) this.#socket.resume();
    else this.#socket.pause();
  }

  onData(bytes: Uint8Array): void {
    this.#pump.onData(bytes);
  }

  onFin(): void {
    this.#pump.onFin();
  }

  onWritable(): void {
    this.#pump.onWritable();
  }

  onStop(): void {
    this.#pump.onStop();
  }

  onClose(error: TunnelError | undefined): void {
    this.isComplete = error === undefined;
    this.#pump.onClose(error);
    // TLS has no reset. A connection that is destroyed has no close_notify.
    if (error !== undefined) this.#socket.destroy();
  }
}
