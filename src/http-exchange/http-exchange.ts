import type { Caller, HttpCredentials, HttpServer } from '../tunnel/stream-request.ts';
import type { TunnelError } from '../tunnel/errors.ts';

export type { HttpCredentials, HttpServer } from '../tunnel/stream-request.ts';

export type HeaderField = readonly [name: string, value: string];

/** Header fields in the order and spelling in which they arrived. A name may occur several times. */
export type HeaderList = readonly HeaderField[];

export interface HttpRequestHead {
  readonly method: string;
  /** The request target in origin form (RFC 9112, section 3.2.1), byte for byte: `/path?query`. */
  readonly path: string;
  readonly headers: HeaderList;
}

export interface HttpResponseHead {
  readonly status: number;
  readonly headers: HeaderList;
}

/** Receives the events of an exchange. They are never called from inside a method of the exchange. */
export interface HttpExchangeHandler {
  /** An informational response (1xx except 101). Any number of them, before the head. */
  onInformational?(head: HttpResponseHead): void;

  /** The response's head, once. After status 101, both directions are bytes of the new protocol. */
  onHead(head: HttpResponseHead): void;

  /** A piece of the body. `bytes` is borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;

  onTrailers?(trailers: HeaderList): void;

  /** The response is complete. The request's body may still be on its way. */
  onEnd(): void;

  /** `write` returned false before, and there is room again. */
  onWritable(): void;

  /** The server reads no more of the request's body. `write` drops its bytes from now on. */
  onStop?(): void;

  /**
   * The last call. No error: the exchange ended in order. Otherwise it was refused, or cut: a
   * response without `onEnd` is not complete.
   */
  onClose(error: TunnelError | undefined): void;
}

/** The verbs on an exchange. */
export interface HttpExchange {
  /** Sends a piece of the body, which is copied. False: stop until `onWritable`. */
  write(bytes: Uint8Array): boolean;

  /** Ends the request's body. Idempotent. */
  end(trailers?: HeaderList): void;

  /** Gives back window, because the reader has taken `bytes` of what `onData` brought. */
  consumed(bytes: number): void;

  /** Ends the exchange at once. Idempotent. */
  reset(error: TunnelError): void;
}

export interface HttpExchangeOptions {
  readonly cluster: string;
  readonly server: HttpServer;
  readonly credentials: HttpCredentials;
  readonly head: HttpRequestHead;
  /** Whether `write` may be called. */
  readonly hasBody: boolean;
  readonly caller?: Caller | undefined;
  /** A W3C `traceparent` (default: none). */
  readonly trace?: string | undefined;
  /** Cancels the exchange with code `cancelled` until the head of the response has arrived. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts an exchange and returns at once. Bytes that are written before the agent has a connection
 * to the server wait in memory, and `write` returns false.
 *
 * @throws TunnelError `protocol_error` the head has a text that HTTP cannot carry
 */
export type OpenHttpExchange = (
  options: HttpExchangeOptions,
  handler: HttpExchangeHandler,
) => HttpExchange;
