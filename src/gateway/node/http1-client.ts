import { fieldLines } from '../../http1/header-fields.ts';
import type { Http1RequestHead } from '../../http1/request-head.ts';
import {
  informationalText,
  responseFraming,
  type ResponseFraming,
  responseText,
} from '../../http1/response-text.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import { isNamed } from '../../http-exchange/upgrade.ts';
import type { ClientEvents, ClientSide, RawConnection } from './client-side.ts';
import { RequestBody } from './request-body.ts';

/** The connection of a request, as its client side uses it. */
export interface Http1Carrier {
  /** No other request follows on the connection. */
  readonly isLast: boolean;
  /** The connection ends with this answer. */
  endAfterAnswer(): void;
  sendText(text: string): void;
  /** Sends bytes, which are copied. False: stop until `Http1Client.onDrain`. */
  send(bytes: Uint8Array): boolean;
  /** The answer is complete. `Http1Client.onClosed` follows when the kernel has taken it. */
  finish(): void;
  /** Ends the connection so that the client notices that the answer is cut. */
  cut(): void;
  /** Sends the head of a 101. The connection is bytes of the new protocol from now on. */
  upgrade(head: string, exchange: HttpExchange): RawConnection;
  pause(): void;
  resume(): void;
}

/** The client's side of a request over HTTP/1.1, or HTTP/1.0. */
export class Http1Client implements ClientSide {
  readonly body: RequestBody;
  readonly #carrier: Http1Carrier;
  readonly #isHead: boolean;
  readonly #isHttp10: boolean;
  readonly #isUpgrade: boolean;
  readonly #expectsContinue: boolean;
  readonly #events: ClientEvents;
  #framing: ResponseFraming | undefined;
  #hasSentContinue = false;

  /** @param head is not kept, because a watch lasts for hours */
  constructor(carrier: Http1Carrier, head: Http1RequestHead, events: ClientEvents) {
    this.#carrier = carrier;
    this.#isHead = head.method === 'HEAD';
    this.#isHttp10 = head.isHttp10;
    this.#isUpgrade = head.isUpgrade;
    this.#expectsContinue = head.expectsContinue;
    this.#events = events;
    this.body = new RequestBody(carrier, events);
  }

  inform({ status, headers }: HttpResponseHead): void {
    if (this.#isHttp10) return;
    if (status === 100) {
      if (!this.#expectsContinue) return;
      this.#hasSentContinue = true;
      this.#carrier.sendText(informationalText({ status, headers: [] }));
    } else if (status === 102 || status === 103) {
      const links = headers.filter(([name]) => isNamed(name, 'link'));
      this.#carrier.sendText(informationalText({ status, headers: links }));
    }
  }

  begin(head: HttpResponseHead): void {
    const isHttp10 = this.#isHttp10;
    const framing = responseFraming(head, { isHead: this.#isHead, isHttp10 });
    this.#framing = framing;
    // Without a 100, nobody knows whether the body follows.
    if (this.#expectsContinue && !this.#hasSentContinue) this.#carrier.endAfterAnswer();
    const { isChunked } = framing;
    this.#carrier.sendText(responseText(head, { isChunked, keepsAlive: !this.#carrier.isLast }));
  }

  write(bytes: Uint8Array): boolean {
    const { hasBody, isChunked } = this.#framing!;
    if (!hasBody || bytes.length === 0) return true;
    if (!isChunked) return this.#carrier.send(bytes);
    this.#carrier.sendText(`${bytes.length.toString(16)}\r\n`);
    const hasRoom = this.#carrier.send(bytes);
    this.#carrier.sendText('\r\n');
    return hasRoom;
  }

  end(trailers: HeaderList | undefined): void {
    if (this.#framing!.isChunked) this.#carrier.sendText(`0\r\n${fieldLines(trailers ?? [])}\r\n`);
    this.#carrier.finish();
  }

  cut(): void {
    this.#carrier.cut();
  }

  upgrade(head: HttpResponseHead, exchange: HttpExchange): RawConnection {
    if (!this.#isUpgrade) {
      throw new Error('it changes the protocol of a request that did not ask for it');
    }
    return this.#carrier.upgrade(informationalText(head), exchange);
  }

  // The calls of the connection.

  /** The head of the answer was sent. */
  get hasBegun(): boolean {
    return this.#framing !== undefined;
  }

  onBodyInvalid(problem: string): void {
    this.#events.onBodyInvalid(problem);
  }

  onDrain(): void {
    this.#events.onDrain();
  }

  /** The last call. */
  onClosed(isComplete: boolean): void {
    this.body.close();
    this.#events.onClientClosed(isComplete);
  }
}
