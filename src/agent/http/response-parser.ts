import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import { ResponseError } from './response-error.ts';
import { parseFields, parseResponseHead, type ParsedHead } from './response-head.ts';

export const responseLimits = {
  /** A head, or the trailers, in bytes. */
  maxHeadBytes: 60 * 1024,
  /** The line in front of a chunk, in bytes. */
  maxChunkLineBytes: 256,
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

type State = 'idle' | 'head' | 'length' | 'until-close' | 'raw' | Chunked;
type Chunked = 'chunk-line' | 'chunk-data' | 'chunk-end' | 'trailers';

/**
 * Reads HTTP/1.1 responses from the bytes of one connection, wherever they are cut. It copies no
 * body.
 */
export class ResponseParser {
  readonly #sink: ResponseSink;
  #state: State = 'idle';
  #method = '';
  /** The bytes of a head or line that has not arrived whole. */
  #held: Buffer | undefined;
  #leftBytes = 0;
  #informationalCount = 0;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  /** A request with this method was sent. */
  begin(method: string): void {
    this.#method = method;
    this.#informationalCount = 0;
    this.#state = 'head';
  }

  /** The server has sent a part of a response. */
  get hasBegun(): boolean {
    return this.#state !== 'head' || this.#held !== undefined || this.#informationalCount > 0;
  }

  /**
   * Returns how many bytes belonged to the response. After 101 the rest is the new protocol's. Any
   * other rest was not asked for.
   *
   * @throws ResponseError
   */
  push(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'idle' && this.#state !== 'raw') {
      at = this.#step(bytes, at);
    }
    return at;
  }

  /** The connection has ended. Returns whether that completes the response. */
  finish(): boolean {
    if (this.#state !== 'until-close') return this.#state === 'idle';
    this.#complete();
    return true;
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#gather(bytes, at, '\r\n\r\n', responseLimits.maxHeadBytes, this.#onHead);
      case 'length':
      case 'chunk-data':
        return this.#body(bytes, at);
      case 'until-close':
        this.#sink.onBody(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'chunk-line':
        return this.#gather(bytes, at, '\r\n', responseLimits.maxChunkLineBytes, this.#onChunkLine);
      case 'chunk-end':
        return this.#gather(bytes, at, '\r\n', 2, this.#onChunkEnd);
      case 'trailers':
        return this.#gather(bytes, at, '\r\n', responseLimits.maxHeadBytes, this.#onTrailerLine);
      default:
        return at;
    }
  }

  /**
   * Waits for `end`, and passes on the text before it.
   *
   * @throws ResponseError the text is longer than `maxBytes`
   */
  #gather(
    bytes: Buffer,
    at: number,
    end: string,
    maxBytes: number,
    take: (text: string) => void,
  ): number {
    const held = this.#held;
    // The end may lie across two pieces.
    const whole = held === undefined ? bytes : Buffer.concat([held, bytes.subarray(at)]);
    const start = held === undefined ? at : 0;
    const searchFrom = held === undefined ? at : Math.max(0, held.length - end.length + 1);
    const found = whole.indexOf(end, searchFrom, 'latin1');
    const textBytes = (found < 0 ? whole.length : found) - start;
    if (textBytes > maxBytes)
      throw new ResponseError(`it has a head or line over ${maxBytes} bytes`);
    if (found < 0) {
      this.#held = held === undefined ? Buffer.from(whole.subarray(start)) : whole;
      return bytes.length;
    }
    this.#held = undefined;
    const next = found + end.length - start - (held?.length ?? 0) + at;
    take(whole.toString('latin1', start, found));
    return next;
  }

  readonly #onHead = (text: string): void => {
    const head = parseResponseHead(text, this.#method);
    const { status, framing } = head;
    if (status < 200 && status !== 101) {
      if (++this.#informationalCount > responseLimits.maxInformational) {
        throw new ResponseError('it has too many informational heads');
      }
      return this.#sink.onInformational(head);
    }
    if (status === 101) this.#state = 'raw';
    else if (framing.kind === 'chunked') this.#state = 'chunk-line';
    else if (framing.kind === 'until-close') this.#state = 'until-close';
    else {
      this.#state = 'length';
      this.#leftBytes = framing.kind === 'length' ? framing.bytes : 0;
    }
    this.#sink.onHead(head);
    if (this.#state === 'length' && this.#leftBytes === 0) this.#complete();
  };

  readonly #onChunkLine = (text: string): void => {
    const [, size] = /^([0-9A-Fa-f]{1,13})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/.exec(text) ?? [];
    if (size === undefined) throw new ResponseError('it has a chunk without a valid length');
    this.#leftBytes = Number.parseInt(size, 16);
    this.#state = this.#leftBytes === 0 ? 'trailers' : 'chunk-data';
  };

  readonly #onChunkEnd = (text: string): void => {
    if (text !== '') throw new ResponseError('it has a chunk that is longer than its length');
    this.#state = 'chunk-line';
  };

  #trailerLines: string[] = [];
  #trailerBytes = 0;

  readonly #onTrailerLine = (text: string): void => {
    if (text !== '') {
      this.#trailerBytes += text.length + 2;
      if (this.#trailerBytes > responseLimits.maxHeadBytes) {
        throw new ResponseError('it has trailers that are too long');
      }
      this.#trailerLines.push(text);
      return;
    }
    const lines = this.#trailerLines;
    if (lines.length > 0) {
      this.#trailerLines = [];
      this.#trailerBytes = 0;
      this.#sink.onTrailers(parseFields(lines.join('\r\n')));
    }
    this.#complete();
  };

  #body(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#leftBytes);
    this.#leftBytes -= end - at;
    this.#sink.onBody(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    if (this.#leftBytes > 0) return end;
    if (this.#state === 'chunk-data') this.#state = 'chunk-end';
    else this.#complete();
    return end;
  }

  #complete(): void {
    this.#state = 'idle';
    this.#sink.onComplete();
  }
}
