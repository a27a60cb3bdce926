import { readFile } from 'node:fs/promises';
import { Secret } from '../secret.ts';

/** A header cannot be sent. The message never repeats the value, which may be a secret. */
export class GatewayHeaderError extends Error {
  override readonly name = 'GatewayHeaderError';
}

/** A header for a gateway in front of the broker. */
export interface GatewayHeader {
  readonly name: string;
  readonly value: Secret;
}

const maxFileBytes = 16 * 1024;
/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** RFC 9110, section 5.5: visible characters, with spaces and tabs between them. */
const fieldValue = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/;

/**
 * Names that are not allowed: hop-by-hop headers (RFC 9110, section 7.6.1), framing, headers of the
 * WebSocket handshake, and our own credentials.
 */
const reserved = new Set([
  'host',
  'connection',
  'upgrade',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'expect',
  'date',
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-connection',
]);
const reservedPrefixes = ['sec-websocket-', 'culvert-'];

/**
 * Reads `NAME=VALUE`, the form of `--header`.
 *
 * @throws GatewayHeaderError its message is a predicate: `is not ...`
 */
export function parseHeaderOption(text: string): GatewayHeader {
  const at = text.indexOf('=');
  if (at <= 0) throw new GatewayHeaderError('is not NAME=VALUE');
  return headerOf(text.slice(0, at), text.slice(at + 1));
}

/**
 * Reads a file of headers, one `NAME: VALUE` per line. Programs read it for each request. Empty
 * lines are ignored.
 *
 * @throws GatewayHeaderError with the path and the line; an Error when the file cannot be read
 */
export async function readHeaderFile(path: string): Promise<readonly GatewayHeader[]> {
  const text = (await readFile(path, 'utf8')).replace(/^\uFEFF/, '');
  if (text.length > maxFileBytes) {
    throw new GatewayHeaderError(`${path} has more than ${maxFileBytes} characters`);
  }
  const headers: GatewayHeader[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    try {
      const at = line.indexOf(':');
      if (at <= 0) throw new GatewayHeaderError('is not NAME: VALUE');
      headers.push(headerOf(line.slice(0, at), line.slice(at + 1)));
    } catch (thrown) {
      if (!(thrown instanceof GatewayHeaderError)) throw thrown;
      throw new GatewayHeaderError(`line ${index + 1} of ${path} ${thrown.message}`);
    }
  }
  if (headers.length === 0) throw new GatewayHeaderError(`${path} has no line NAME: VALUE`);
  return headers;
}

/**
 * Joins all headers of one request.
 *
 * @throws GatewayHeaderError a name occurs twice
 */
export function joinHeaders(headers: readonly GatewayHeader[]): Record<string, string> {
  const names = new Set<string>();
  for (const { name } of headers) {
    if (names.has(name.toLowerCase())) {
      throw new GatewayHeaderError(`the header ${name} is given twice, keep one`);
    }
    names.add(name.toLowerCase());
  }
  return Object.fromEntries(headers.map(({ name, value }) => [name, value.reveal()]));
}

function headerOf(givenName: string, givenValue: string): GatewayHeader {
  const name = givenName.trim();
  const value = givenValue.trim();
  // The message does not repeat the name. If the separator is missing, the name contains the
  // secret.
  if (!token.test(name))
    throw new GatewayHeaderError('has a name with characters that headers cannot have');
  const lower = name.toLowerCase();
  if (reserved.has(lower) || reservedPrefixes.some((prefix) => lower.startsWith(prefix))) {
    const instead = lower === 'host' ? ', use --host-header' : '';
    throw new GatewayHeaderError(`sets ${name}, which this program sets itself${instead}`);
  }
  if (!fieldValue.test(value)) {
    throw new GatewayHeaderError(
      `has no value for ${name}, or one with characters that headers cannot have`,
    );
  }
  return { name, value: new Secret(value) };
}
