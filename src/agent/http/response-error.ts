/** The server's bytes are not a response that can be passed on. The connection is closed. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError';
}
