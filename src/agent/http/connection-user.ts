import type { Socket } from 'node:net';
import type { HeaderList, HttpResponseHead } from '../../http-exchange/http-exchange.ts';
import type { ParsedHead } from '../../http1/response-head.ts';

/** Receives what a connection brings for one request. */
export interface ConnectionUser {
  onInformational(head: HttpResponseHead): void;
  onHead(head: HttpResponseHead): void;
  /** A piece of the body, borrowed. False: stop until `resume`. */
  onBody(bytes: Uint8Array): boolean;
  onResponseTrailers(trailers: HeaderList): void;
  /** The response is complete. The connection belongs to its pool again. */
  onComplete(): void;
  /** The server speaks another protocol now. The connection is the user's, with the bytes so far. */
  onUpgrade(head: ParsedHead, socket: Socket, bytes: Uint8Array): void;
  /** The kernel has taken so many bytes of the request's body. */
  onTaken(bytes: number): void;
  /** @param isUnanswered no byte of a response has arrived */
  onFailed(error: Error, isUnanswered: boolean): void;
}
