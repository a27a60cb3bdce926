import { STATUS_CODES } from 'node:http';
import type { HttpResponseHead } from '../http-exchange/http-exchange.ts';
import { fieldValues } from '../http-exchange/upgrade.ts';
import { fieldLines } from './header-fields.ts';

/** The head of an informational response, or of a 101, as the bytes of HTTP/1.1. */
export function informationalText({ status, headers }: HttpResponseHead): string {
  return `${statusLine(status)}${fieldLines(headers)}\r\n`;
}

export interface ResponseFraming {
  /** The status and the method allow a body. */
  readonly hasBody: boolean;
  /** The body is sent in chunks. Without chunks and length, it ends with the connection. */
  readonly isChunked: boolean;
}

/**
 * How a response is sent (RFC 9112, section 6.3).
 *
 * @param method the method of the request
 */
export function responseFraming(
  { status, headers }: HttpResponseHead,
  { isHead, isHttp10 }: { readonly isHead: boolean; readonly isHttp10: boolean },
): ResponseFraming {
  const hasBody = !isHead && status !== 204 && status !== 304;
  return {
    hasBody,
    isChunked: hasBody && !isHttp10 && fieldValues(headers, 'content-length').length === 0,
  };
}

/**
 * The head of a response as the bytes of HTTP/1.1. Its fields have no Transfer-Encoding and no
 * Connection, and their texts were checked.
 */
export function responseText(
  { status, headers }: HttpResponseHead,
  { isChunked, keepsAlive }: { readonly isChunked: boolean; readonly keepsAlive: boolean },
): string {
  let text = statusLine(status) + fieldLines(headers);
  // RFC 9110, section 6.6.1.
  if (fieldValues(headers, 'date').length === 0) text += `Date: ${new Date().toUTCString()}\r\n`;
  if (isChunked) text += 'Transfer-Encoding: chunked\r\n';
  if (!keepsAlive) text += 'Connection: close\r\n';
  return `${text}\r\n`;
}

function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
}
