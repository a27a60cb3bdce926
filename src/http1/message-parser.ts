import type { HeaderList } from '../http-exchange/http-exchange.ts';
import { parseFields } from './header-fields.ts';
import { Http1Error } from './http1-error.ts';

/** How the end of a message's body is found (RFC 9112, section 6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' };

/** What follows a head: a body, another head (behind an informational response), or other bytes. */
export type AfterHead = BodyFraming | { readonly kind: 'head' | 'raw' };

export interface MessageLimits {
  /** A head, or the trailers, in bytes. */
  readonly maxHeadBytes: number;
}

/** The line in front of a chunk, in bytes. */
const maxChunkLineBytes = 256;

export interface MessageSink {
  /**
   * A head without its empty line, a character for each byte. Returns what follows it.
   *
   * @throws Http1Error
   */
  onHead(text: string): AfterHead;
  /** A piece of the body. Borrowed from what `push` got. */
  onBody(bytes: Uint8Array): void;
  onTrailers(trailers: HeaderList): void;
  /** The message is complete. No other call for it follows. */
  onComplete(): void;
}

type State = 'idle' | 'head' | 'length' | 'until-close' | 'raw' | Chunked;
type Chunked = 'chunk-line' | 'chunk-data' | 'chunk-end' | 'trailers';

/**
 * Finds heads and bodies of HTTP/1.1 messages in the bytes of one connection, wherever they are cut.
 * It copies no body.
 */
export class MessageParser {
  readonly #sink: MessageSink;
  readonly #maxHeadBytes: number;
  #state: State = 'idle';
  /** The bytes of a head or line that has not arrived whole. */
  #held: Buffer | undefined;
  #leftBytes = 0;
  #trailerLines: string[] = [];
  #trailerBytes = 0;

  constructor(sink: MessageSink, limits: MessageLimits) {
    this.#sink = sink;
    this.#maxHeadBytes = limits.maxHeadBytes;
  }

  /** The head of a message comes next. */
  begin(): void {
    this.#state = 'head';
  }

  /** Drops what has come of a message, and expects none. */
  stop(): void {
    this.#state = 'idle';
    this.#held = undefined;
  }

  /** No message is expected, because `begin` was not called since the last one. */
  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** A head is expected, and a part of it has come. */
  get isInHead(): boolean {
    return this.#state === 'head' && this.#held !== undefined;
  }

  /** A head is expected, and none of its bytes has come. */
  get isBeforeHead(): boolean {
    return this.#state === 'head' && this.#held === undefined;
  }

  /**
   * Returns how many bytes belonged to the message. The rest belongs to the next one, or to the
   * protocol that follows the head.
   *
   * @throws Http1Error
   */
  push(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'idle' && this.#state !== 'raw') {
      at = this.#step(bytes, at);
    }
    return at;
  }

  /** The connection has ended. Returns whether that completes the message. */
  finish(): boolean {
    if (this.#state !== 'until-close') return this.#state === 'idle';
    this.#complete();
    return true;
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#gather(bytes, at, '\r\n\r\n', this.#maxHeadBytes);
      case 'length':
      case 'chunk-data':
        return this.#body(bytes, at);
      case 'until-close':
        this.#sink.onBody(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'chunk-line':
        return this.#gather(bytes, at, '\r\n', maxChunkLineBytes);
      case 'chunk-end':
        return this.#gather(bytes, at, '\r\n', 2);
      case 'trailers':
        return this.#gather(bytes, at, '\r\n', this.#maxHeadBytes);
      default:
        return at;
    }
  }

  /**
   * Waits for `end`, and takes the text before it.
   *
   * @throws Http1Error `too_large` the text is longer than `maxBytes`
   */
  #gather(bytes: Buffer, at: number, end: string, maxBytes: number): number {
    const held = this.#held;
    // The end may lie across two pieces.
    const whole = held === undefined ? bytes : Buffer.concat([held, bytes.subarray(at)]);
    const start = held === undefined ? at : 0;
    const searchFrom = held === undefined ? at : Math.max(0, held.length - end.length + 1);
    const found = whole.indexOf(end, searchFrom, 'latin1');
    // Without the end, the last bytes may be a part of it.
    const textBytes = (found < 0 ? whole.length - end.length + 1 : found) - start;
    if (textBytes > maxBytes) {
      throw new Http1Error('too_large', `it has a head or line over ${maxBytes} bytes`);
    }
    if (found < 0) {
      this.#held = held === undefined ? Buffer.from(whole.subarray(start)) : whole;
      return bytes.length;
    }
    this.#held = undefined;
    const next = found + end.length - start - (held?.length ?? 0) + at;
    this.#take(whole.toString('latin1', start, found));
    return next;
  }

  #take(text: string): void {
    switch (this.#state) {
      case 'head':
        return this.#onHead(text);
      case 'chunk-line':
        return this.#onChunkLine(text);
      case 'chunk-end':
        return this.#onChunkEnd(text);
      default:
        return this.#onTrailerLine(text);
    }
  }

  #onHead(text: string): void {
    const after = this.#sink.onHead(text);
    switch (after.kind) {
      case 'head':
        return;
      case 'raw':
        this.#state = 'raw';
        return;
      case 'chunked':
        this.#state = 'chunk-line';
        return;
      case 'until-close':
        this.#state = 'until-close';
        return;
      default:
        this.#state = 'length';
        this.#leftBytes = after.kind === 'length' ? after.bytes : 0;
        if (this.#leftBytes === 0) this.#complete();
    }
  }

  #onChunkLine(text: string): void {
    const [, size] = /^([0-9A-Fa-f]{1,13})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/.exec(text) ?? [];
    if (size === undefined) {
      throw new Http1Error('malformed', 'it has a chunk without a valid length');
    }
    this.#leftBytes = Number.parseInt(size, 16);
    this.#state = this.#leftBytes === 0 ? 'trailers' : 'chunk-data';
  }

  #onChunkEnd(text: string): void {
    if (text !== '') {
      throw new Http1Error('malformed', 'it has a chunk that is longer than its length');
    }
    this.#state = 'chunk-line';
  }

  #onTrailerLine(text: string): void {
    if (text !== '') {
      this.#trailerBytes += text.length + 2;
      if (this.#trailerBytes > this.#maxHeadBytes) {
        throw new Http1Error('too_large', 'it has trailers that are too long');
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
  }

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
