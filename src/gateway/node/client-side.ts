import type {
  HeaderList,
  HttpExchange,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import type { StreamHandler } from '../../tunnel/stream-handler.ts';
import type { BodyEvents, RequestBody } from './request-body.ts';

/** The client's side of one request, over HTTP/1.1 or HTTP/2. Its owner is a `ForwardedRequest`. */
export interface ClientSide {
  readonly body: Pick<RequestBody, 'read' | 'pause' | 'resume' | 'drop'>;

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
}

/** An upgraded connection. */
export type RawConnection = Required<Pick<StreamHandler, 'onData' | 'onFin' | 'onWritable'>> &
  Required<Pick<StreamHandler, 'onStop' | 'onClose'>>;

/** Events of the client's side. */
export interface ClientEvents extends BodyEvents {
  /** The rest of the body cannot be read. */
  onBodyInvalid(problem: string): void;
  /** `write` returned false before, and there is room again. */
  onDrain(): void;
  /** The last event. True: the client has received the whole response. */
  onClientClosed(isComplete: boolean): void;
}
