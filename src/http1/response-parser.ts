import type { HeaderList } from '../http-exchange/http-exchange.ts';
import { Http1Error } from './http1-error.ts';
import { type AfterHead, MessageParser, type MessageSink } from './message-parser.ts';
import { type ParsedHead, parseResponseHead } from './response-head.ts';

export const responseLimits = {
  /** A head, or the trailers, in bytes. */
  maxHeadBytes: 60 * 1024,
  /** Informational heads in front of a response. */
  maxInformational: 50,
} as const;

export interface ResponseSink {
  onInformational(head: ParsedHead): void;
  onHead(head: ParsedHead): void;
  /** A piece of the body. Borrowed from what `push` got. */
  onBody(bytes: Uint8Array): void;
  onTrailers(trailers: HeaderList): void;
  /** The response is complete. No other call for it follows. */
  onComplete(): void;
}

/** Reads HTTP/1.1 responses from the bytes of one connection, wherever they are cut. */
export class ResponseParser implements MessageSink {
  readonly #sink: ResponseSink;
  readonly #messages: MessageParser;
  #method = '';
  #informationalCount = 0;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
    this.#messages = new MessageParser(this, responseLimits);
  }

  /** A request with this method was sent. */
  begin(method: string): void {
    this.#method = method;
    this.#informationalCount = 0;
    this.#messages.begin();
  }

  /** The server has sent a part of a response. */
  get hasBegun(): boolean {
    return !this.#messages.isBeforeHead || this.#informationalCount > 0;
  }

  /**
   * Returns how many bytes belonged to the response. After 101 the rest is the new protocol's. Any
   * other rest was not asked for.
   *
   * @throws Http1Error
   */
  push(bytes: Buffer): number {
    return this.#messages.push(bytes);
  }

  /** The connection has ended. Returns whether that completes the response. */
  finish(): boolean {
    return this.#messages.finish();
  }

  onHead(text: string): AfterHead {
    const head = parseResponseHead(text, this.#method);
    const { status, framing } = head;
    if (status < 200 && status !== 101) {
      if (++this.#informationalCount > responseLimits.maxInformational) {
        throw new Http1Error('malformed', 'it has too many informational heads');
      }
      this.#sink.onInformational(head);
      return { kind: 'head' };
    }
    this.#sink.onHead(head);
    return status === 101 ? { kind: 'raw' } : framing;
  }

  onBody(bytes: Uint8Array): void {
    this.#sink.onBody(bytes);
  }

  onTrailers(trailers: HeaderList): void {
    this.#sink.onTrailers(trailers);
  }

  onComplete(): void {
    this.#sink.onComplete();
  }
}
