import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import { SocketPump } from '../../stream-io/node/socket-pump.ts';
import type { ClientEvents, ClientSide, RawConnection } from './client-side.ts';
import { Http1Client } from './http1-client.ts';

export interface UpgradeParts {
  readonly message: IncomingMessage;
  readonly socket: Socket;
  /** Bytes that came behind the request. */
  readonly head: Buffer;
  readonly clock: Clock;
  readonly events: ClientEvents;
}

/**
 * The client's side of a request to change the protocol. The answer is a 101, after which the
 * connection is a stream of bytes with half-close, or an ordinary response, after which the
 * connection ends.
 */
export class Http1Upgrade implements ClientSide {
  readonly #parts: UpgradeParts;
  /** Present when the answer is an ordinary response. */
  #ordinary: Http1Client | undefined;
  #isRaw = false;
  #isComplete = false;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
    const { socket, events } = parts;
    socket.on('error', () => socket.destroy());
    socket.on('close', () => events.onClientClosed(this.#isComplete));
  }

  inform(): void {}

  begin(head: HttpResponseHead): void {
    const { message, socket, events } = this.#parts;
    const response = new ServerResponse(message);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    socket.on('drain', () => response.emit('drain'));
    response.on('finish', () => {
      this.#isComplete = true;
      socket.destroySoon();
    });
    this.#ordinary = new Http1Client(message, response, {
      onBody: () => {},
      onBodyEnd: () => {},
      onDrain: () => events.onDrain(),
      onClientClosed: () => {},
    });
    this.#ordinary.begin(head);
  }

  write(bytes: Uint8Array): boolean {
    return this.#ordinary!.write(bytes);
  }

  end(trailers: HeaderList | undefined): void {
    this.#ordinary!.end(trailers);
  }

  cut(): void {
    const { socket } = this.#parts;
    if (this.#ordinary === undefined) socket.destroy();
    else this.#ordinary.cut();
  }

  upgrade({ status, headers }: HttpResponseHead, exchange: HttpExchange): RawConnection {
    const { socket, head, clock } = this.#parts;
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n`, 'latin1');
    const pump = new SocketPump(socket, { clock });
    this.#isRaw = true;
    pump.bind({
      number: 0,
      write: (bytes) => exchange.write(bytes),
      fin: () => exchange.end(),
      reset: (error) => exchange.reset(error),
      consumed: (bytes) => exchange.consumed(bytes),
      stopReceiving: () => {},
    });
    if (head.length > 0) exchange.write(head);
    pump.onOpened();
    return {
      onData: (bytes) => pump.onData(bytes),
      onFin: () => pump.onFin(),
      onWritable: () => pump.onWritable(),
      onStop: () => pump.onStop(),
      onClose: (error) => {
        this.#isComplete = error === undefined;
        pump.onClose(error);
        // TLS has no reset. A connection that is destroyed has no close_notify.
        if (error !== undefined) socket.destroy();
      },
    };
  }

  readBody(): void {}

  pauseBody(): void {
    if (this.#isRaw) this.#parts.socket.pause();
  }

  resumeBody(): void {}

  dropBody(): void {}
}
