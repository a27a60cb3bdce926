import type {
  HeaderList,
  HttpExchange,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import type { StreamHandler } from '../../tunnel/stream-handler.ts';

/** The client's side of one request, over HTTP/1.1 or HTTP/2. Its owner is a `ForwardedRequest`. */
export interface ClientSide {
  /** Sends an informational response, if the client can take it. */
  inform(head: HttpResponseHead): void;

  /**
   * Sends the head of the response.
   *
   * @throws Error the head cannot be sent; nothing was sent
   */
  begin(head: HttpResponseHead): void;

  /** Sends a piece of the body, which is copied. False: stop until `ClientEvents.onDrain`. */
  write(bytes: Uint8Array): boolean;

  /** Ends the response, which is complete. */
  end(trailers: HeaderList | undefined): void;

  /** Ends the connection or the stream, so that the client notices that the response is cut. */
  cut(): void;

  /**
   * Turns the connection into bytes of another protocol, after the head of a 101. The result gets
   * what the server sends from now on. Undefined: the protocol is an HTTP/2 stream, whose body goes
   * on as before.
   */
  upgrade(head: HttpResponseHead, exchange: HttpExchange): RawConnection | undefined;

  /** Starts to read the request's body, if it has one. */
  readBody(): void;
  pauseBody(): void;
  resumeBody(): void;
  /** The server wants no more of the body. */
  dropBody(): void;
}

/** An upgraded connection. */
export type RawConnection = Required<Pick<StreamHandler, 'onData' | 'onFin' | 'onWritable'>> &
  Required<Pick<StreamHandler, 'onStop' | 'onClose'>>;

/** Events of the client's side. */
export interface ClientEvents {
  /** A piece of the request's body. False: `pauseBody` was called. */
  onBody(bytes: Uint8Array): void;
  onBodyEnd(trailers: HeaderList | undefined): void;
  /** The rest of the body cannot be read. */
  onBodyInvalid(problem: string): void;
  /** `write` returned false before, and there is room again. */
  onDrain(): void;
  /** The last event. True: the client has received the whole response. */
  onClientClosed(isComplete: boolean): void;
}
