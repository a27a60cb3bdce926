/**
 * The server has refused a request before it has done anything with it (RFC 9113, sections 6.8 and
 * 8.7). So the request may be sent again, whatever its method.
 */
export class NotProcessedError extends Error {
  override readonly name = 'NotProcessedError';
}
