import type { HttpResponseHead } from '../http-exchange/http-exchange.ts';
import { isNamed } from '../http-exchange/upgrade.ts';

/**
 * The number of bytes in a response's body (RFC 9112, section 6.3). Undefined: the head does not
 * tell.
 *
 * @throws Error the head has several lengths, or none that is a number
 */
export function bodyLength(
  method: string,
  { status, headers }: HttpResponseHead,
): number | undefined {
  let length: string | undefined;
  for (const [name, value] of headers) {
    if (!isNamed(name, 'content-length')) continue;
    if (length !== undefined) throw new Error('it has several Content-Length fields');
    length = value;
  }
  if (length !== undefined && !/^\d{1,15}$/.test(length)) {
    throw new Error('its Content-Length is not a number');
  }
  if (method === 'HEAD' || status === 204 || status === 304) return 0;
  return length === undefined ? undefined : Number(length);
}
