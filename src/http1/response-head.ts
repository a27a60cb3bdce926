import type { HeaderList, HttpResponseHead } from '../http-exchange/http-exchange.ts';
import { fieldValues, listMembers } from '../http-exchange/upgrade.ts';
import { parseFields } from './header-fields.ts';
import { Http1Error } from './http1-error.ts';
import type { BodyFraming } from './message-parser.ts';

export interface ParsedHead extends HttpResponseHead {
  readonly framing: BodyFraming;
  /** The connection may carry another request afterwards. */
  readonly keepsAlive: boolean;
  /** How long an idle connection stays open, in seconds, if the server tells. */
  readonly keepAliveSeconds: number | undefined;
}

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;

/**
 * Parses a head, which is strict: whatever two parsers could read differently is refused.
 *
 * @param text the head without the empty line, a character for each byte
 * @param method the method of the request
 * @throws Http1Error `malformed`
 */
export function parseResponseHead(text: string, method: string): ParsedHead {
  const lineEnd = text.indexOf('\r\n');
  const firstLine = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const [, minor, statusText] = statusLine.exec(firstLine) ?? [];
  if (statusText === undefined) throw new Http1Error('malformed', 'its first line is not HTTP/1.1');
  const status = Number(statusText);
  const headers = lineEnd < 0 ? [] : parseFields(text.slice(lineEnd + 2));
  const framing = framingOf({ status, headers }, method, minor === '0');
  return { status, headers, framing, ...lifeOf(headers, framing, minor === '0') };
}

function framingOf(
  { status, headers }: HttpResponseHead,
  method: string,
  is10: boolean,
): BodyFraming {
  const codings = listMembers(headers, 'transfer-encoding');
  const [length, ...otherLengths] = fieldValues(headers, 'content-length');
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD')
    return { kind: 'none' };
  if (codings.length > 0) {
    if (is10 || length !== undefined)
      throw new Http1Error('malformed', 'it has contradictory lengths');
    if (codings.length === 1 && codings[0] === 'chunked') return { kind: 'chunked' };
    throw new Http1Error('malformed', 'it has a transfer coding other than chunked');
  }
  if (length === undefined) return { kind: 'until-close' };
  if (otherLengths.some((other) => other !== length) || !/^\d{1,15}$/.test(length)) {
    throw new Http1Error('malformed', 'its Content-Length is not one number');
  }
  return { kind: 'length', bytes: Number(length) };
}

function lifeOf(headers: HeaderList, framing: BodyFraming, is10: boolean) {
  const keepsAlive =
    !is10 &&
    framing.kind !== 'until-close' &&
    !listMembers(headers, 'connection').includes('close');
  let keepAliveSeconds: number | undefined;
  for (const member of listMembers(headers, 'keep-alive')) {
    const [, seconds] = /^timeout=(\d{1,6})$/.exec(member) ?? [];
    if (seconds !== undefined) keepAliveSeconds = Number(seconds);
  }
  return { keepsAlive, keepAliveSeconds };
}
