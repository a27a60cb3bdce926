import type { HeaderList, HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import {
  fieldValues,
  isNamed,
  isUpgradeRequest,
  listMembers,
} from '../../http-exchange/upgrade.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { endToEndFields } from './hop-by-hop.ts';

/** A request as the bytes of HTTP/1.1, and the length of its body. */
export interface RequestText {
  readonly method: string;
  /** The value of Host. */
  readonly host: string;
  /** The head with its empty line, a character for each byte. */
  readonly text: string;
  /** Bytes of the body; undefined: it is sent in chunks. */
  readonly bodyBytes: number | undefined;
  readonly isUpgrade: boolean;
  /** Whether the request may be sent twice (RFC 9110, section 9.2.2). */
  readonly isRepeatable: boolean;
}

const repeatable: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const withBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/**
 * Writes the head of a request, whose texts the codec has checked.
 *
 * @param host for requests without Host
 * @param authorization replaces the caller's credentials
 * @throws TunnelError `protocol_error` the framing of the request is not clear
 */
export function requestText(
  head: HttpRequestHead,
  {
    host,
    hasBody,
    authorization,
  }: {
    readonly host: string;
    readonly hasBody: boolean;
    readonly authorization?: string | undefined;
  },
): RequestText {
  const { method, path, headers } = head;
  const isUpgrade = isUpgradeRequest(head);
  if (isUpgrade && hasBody) throw unclear('asks for another protocol and has a body');
  const length = lengthOf(headers, hasBody);
  const [hostField = host, ...otherHosts] = fieldValues(headers, 'host');
  if (otherHosts.length > 0) throw unclear('has more than one Host');
  let text = `${method} ${path} HTTP/1.1\r\nHost: ${hostField}\r\n`;
  for (const [name, value] of sentFields(headers, authorization)) text += `${name}: ${value}\r\n`;
  if (isUpgrade) {
    const protocols = fieldValues(headers, 'upgrade').join(', ');
    text += `Connection: Upgrade\r\nUpgrade: ${protocols}\r\n`;
  } else if (hasBody && length === undefined) {
    text += 'Transfer-Encoding: chunked\r\n';
  } else if (length !== undefined || withBody.has(method)) {
    text += `Content-Length: ${length ?? 0}\r\n`;
  }
  return {
    method,
    host: hostField,
    text: `${text}\r\n`,
    bodyBytes: hasBody ? length : 0,
    isUpgrade,
    isRepeatable: !hasBody && !isUpgrade && repeatable.has(method),
  };
}

/**
 * The fields that a server gets, apart from those of the connection, Host and Content-Length.
 *
 * @param authorization replaces the caller's credentials
 */
export function sentFields(
  headers: HeaderList,
  authorization: string | undefined,
): [string, string][] {
  const fields = endToEndFields(headers).filter(([name]) => {
    if (isNamed(name, 'host') || isNamed(name, 'content-length')) return false;
    return authorization === undefined || !isNamed(name, 'authorization');
  });
  if (authorization !== undefined) fields.push(['Authorization', authorization]);
  return fields;
}

function lengthOf(headers: HeaderList, hasBody: boolean): number | undefined {
  const [length, ...others] = fieldValues(headers, 'content-length');
  if (length === undefined) return undefined;
  const isOne = others.every((other) => other === length);
  const hasCoding = listMembers(headers, 'transfer-encoding').length > 0;
  if (!isOne || hasCoding || !/^\d{1,15}$/.test(length)) {
    throw unclear('does not have one Content-Length');
  }
  if (!hasBody && Number(length) > 0) throw unclear('has a Content-Length and no body');
  return Number(length);
}

function unclear(problem: string): TunnelError {
  return new TunnelError('protocol_error', `the HTTP request ${problem}`);
}
