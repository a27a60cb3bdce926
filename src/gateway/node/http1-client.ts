import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { atEndOfTurn, type TurnTask } from '../../base/end-of-turn.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import type { ClientEvents, ClientSide, RawConnection } from './client-side.ts';

/** The client's side of a request over HTTP/1.1, or HTTP/1.0. */
export class Http1Client implements ClientSide, TurnTask {
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #events: ClientEvents;
  #isHeadPending = false;
  #isHeld = false;

  constructor(message: IncomingMessage, response: ServerResponse, events: ClientEvents) {
    this.#message = message;
    this.#response = response;
    this.#socket = message.socket;
    this.#events = events;
    response.on('close', () => events.onClientClosed(response.writableFinished));
    // Without a listener, an error of the socket would end the process. `close` follows.
    response.on('error', () => {});
  }

  inform({ status, headers }: HttpResponseHead): void {
    if (this.#message.httpVersion === '1.0') return;
    if (status === 100) {
      if (this.#message.headers.expect !== undefined) this.#response.writeContinue();
    } else if (status === 103) {
      const links = headers.filter(([name]) => name.toLowerCase() === 'link');
      if (links.length === 0) return;
      try {
        this.#response.writeEarlyHints({ link: links.map(([, value]) => value) });
      } catch {
        // Node refuses links that are not valid. A client needs no hints.
      }
    } else if (status === 102) {
      this.#response.writeProcessing();
    }
  }

  begin({ status, headers }: HttpResponseHead): void {
    const flat: string[] = [];
    for (const [name, value] of headers) flat.push(name, value);
    this.#response.writeHead(status, flat);
    // The head goes out with the first bytes of the body if they come in the same turn.
    this.#isHeadPending = true;
    atEndOfTurn(this);
  }

  endTurn(): void {
    if (!this.#isHeadPending) return;
    this.#isHeadPending = false;
    this.#response.flushHeaders();
  }

  write(bytes: Uint8Array): boolean {
    this.#isHeadPending = false;
    const hasRoom = this.#response.write(Buffer.from(bytes));
    if (!hasRoom && !this.#isHeld) {
      this.#isHeld = true;
      this.#response.once('drain', () => {
        this.#isHeld = false;
        this.#events.onDrain();
      });
    }
    return hasRoom;
  }

  end(trailers: HeaderList | undefined): void {
    this.#isHeadPending = false;
    if (trailers !== undefined && trailers.length > 0) {
      this.#response.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]));
    }
    this.#response.end();
  }

  cut(): void {
    const { encrypted } = this.#socket as Socket & { readonly encrypted?: boolean };
    // Without a length and without chunks, a FIN would look like the end of the body.
    if (encrypted === true) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  upgrade(_head: HttpResponseHead, _exchange: HttpExchange): RawConnection | undefined {
    throw new Error('it changes the protocol of a request that did not ask for it');
  }

  readBody(): void {
    const message = this.#message;
    if (message.complete && message.readableLength === 0) return this.#events.onBodyEnd(undefined);
    message.on('data', (bytes: Buffer) => this.#events.onBody(bytes));
    message.on('end', () => this.#events.onBodyEnd(trailersOf(message)));
    message.on('error', () => {});
  }

  pauseBody(): void {
    this.#message.pause();
  }

  resumeBody(): void {
    this.#message.resume();
  }

  dropBody(): void {
    this.#message.removeAllListeners('data');
    this.#message.resume();
  }
}

function trailersOf({ rawTrailers }: IncomingMessage): HeaderList | undefined {
  if (rawTrailers.length === 0) return undefined;
  const trailers: [string, string][] = [];
  for (let at = 0; at < rawTrailers.length; at += 2) {
    trailers.push([rawTrailers[at]!, rawTrailers[at + 1]!]);
  }
  return trailers;
}
