import type { HeaderList } from '../http-exchange/http-exchange.ts';
import { isTokenCode, isValueCode } from '../base/http-syntax.ts';
import { Http1Error } from './http1-error.ts';

/**
 * Parses the fields of a head or the trailers (RFC 9112, section 5). It is strict: lines that two
 * parsers could read differently are refused, for example folded ones. It takes linear time, which a
 * regular expression for a line with spaces on both sides of its value does not.
 *
 * @param text lines without the last line end, a character for each byte
 * @throws Http1Error `malformed`
 */
export function parseFields(text: string): HeaderList {
  if (text === '') return [];
  const fields: (readonly [string, string])[] = [];
  for (let at = 0; at <= text.length;) {
    const found = text.indexOf('\r\n', at);
    const end = found < 0 ? text.length : found;
    fields.push(parseField(text, at, end));
    at = end + 2;
  }
  return fields;
}

/** Fields as lines, a character for each byte. */
export function fieldLines(fields: HeaderList): string {
  let text = '';
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
  return text;
}

function parseField(text: string, start: number, end: number): readonly [string, string] {
  const colon = text.indexOf(':', start);
  const hasName = colon > start && colon < end && isAll(text, start, colon, isTokenCode);
  let valueStart = colon + 1;
  let valueEnd = end;
  while (valueStart < valueEnd && isSpace(text.charCodeAt(valueStart))) valueStart++;
  while (valueEnd > valueStart && isSpace(text.charCodeAt(valueEnd - 1))) valueEnd--;
  if (!hasName || !isAll(text, valueStart, valueEnd, isValueCode)) {
    throw new Http1Error('malformed', 'it has a header field that is not valid');
  }
  return [text.slice(start, colon), text.slice(valueStart, valueEnd)];
}

function isAll(
  text: string,
  start: number,
  end: number,
  isAllowed: (code: number) => boolean,
): boolean {
  for (let at = start; at < end; at++) if (!isAllowed(text.charCodeAt(at))) return false;
  return true;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
