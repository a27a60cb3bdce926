/**
 * - `malformed`: the bytes are not HTTP/1.1, or two parsers could read them differently
 * - `too_large`: a head, a line or the trailers exceed their limit
 */
export type Http1ErrorCode = 'malformed' | 'too_large';

/** The peer's bytes are not a message that can be passed on. The connection cannot go on. */
export class Http1Error extends Error {
  override readonly name = 'Http1Error';
  readonly code: Http1ErrorCode;

  constructor(code: Http1ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
