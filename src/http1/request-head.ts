import type { HeaderList } from '../http-exchange/http-exchange.ts';
import { fieldValues, isUpgradeRequest, listMembers } from '../http-exchange/upgrade.ts';
import { parseFields } from './header-fields.ts';
import { Http1Error } from './http1-error.ts';
import type { BodyFraming } from './message-parser.ts';

export interface Http1RequestHead {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly host: string | undefined;
  /** A client of HTTP/1.0 knows neither chunks nor informational responses. */
  readonly isHttp10: boolean;
  readonly framing: BodyFraming;
  /** The client wants to send another request on the connection. */
  readonly keepsAlive: boolean;
  readonly isUpgrade: boolean;
  /** The client may send its body only after a 100. */
  readonly expectsContinue: boolean;
  /**
   * A well-formed head that cannot be served, as a sentence. Its framing is `none`, and no other
   * request follows it.
   */
  readonly problem: string | undefined;
}

const requestLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/(\d)\.(\d)$/;

/**
 * Parses the head of a request (RFC 9112, sections 3 and 6). It is strict: a head that two parsers
 * could read differently is refused, so that no request hides in the body of another.
 *
 * @param text the head without the empty line, a character for each byte
 * @throws Http1Error `malformed`
 */
export function parseRequestHead(text: string): Http1RequestHead {
  const lineEnd = text.indexOf('\r\n');
  const line = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const [, method, target, major, minor] = requestLine.exec(line) ?? [];
  if (method === undefined || target === undefined) {
    throw new Http1Error('malformed', 'its first line is not a request line of HTTP/1.1');
  }
  const headers = lineEnd < 0 ? [] : parseFields(text.slice(lineEnd + 2));
  const isHttp10 = major === '1' && minor === '0';
  const hosts = fieldValues(headers, 'host');
  let problem = versionProblem(`${major}.${minor}`) ?? hostProblem(hosts.length, isHttp10);
  let framing: BodyFraming = { kind: 'none' };
  if (problem === undefined) {
    const found = framingOf(headers, isHttp10);
    if (typeof found === 'string') problem = found;
    else framing = found;
  }
  return {
    ...{ method, target, headers, host: hosts[0], isHttp10, framing, problem },
    keepsAlive:
      problem === undefined && !isHttp10 && !listMembers(headers, 'connection').includes('close'),
    isUpgrade: !isHttp10 && isUpgradeRequest({ headers }),
    expectsContinue: !isHttp10 && listMembers(headers, 'expect').includes('100-continue'),
  };
}

function versionProblem(version: string): string | undefined {
  if (version === '1.1' || version === '1.0') return undefined;
  return `HTTP/${version} is not supported, use HTTP/1.1`;
}

function hostProblem(hosts: number, isHttp10: boolean): string | undefined {
  // Health checks of load balancers use HTTP/1.0 without a Host header.
  if (hosts === 1 || (hosts === 0 && isHttp10)) return undefined;
  return `the request has ${hosts} Host headers, it needs one`;
}

/** The framing of a request, or the reason why it is not clear (RFC 9112, section 6.1). */
function framingOf(headers: HeaderList, isHttp10: boolean): BodyFraming | string {
  const codings = fieldValues(headers, 'transfer-encoding');
  const [length, ...otherLengths] = fieldValues(headers, 'content-length');
  if (codings.length > 0) {
    if (isHttp10) return 'HTTP/1.0 has no Transfer-Encoding';
    if (length !== undefined) return 'the request has Transfer-Encoding and Content-Length';
    const isChunked = codings.length === 1 && codings[0]!.toLowerCase() === 'chunked';
    return isChunked ? { kind: 'chunked' } : 'the Transfer-Encoding must be chunked';
  }
  if (length === undefined) return { kind: 'none' };
  if (otherLengths.length > 0 || !/^\d{1,15}$/.test(length)) {
    return 'the Content-Length must be one number';
  }
  const bytes = Number(length);
  return bytes === 0 ? { kind: 'none' } : { kind: 'length', bytes };
}
