import type { HeaderField } from './hpack-static-table.ts';
import { Http2Error } from './http2-error.ts';

/** The headers of a request. Values are Latin-1. */
export interface RequestHead {
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  /**
   * As the client sent it, or empty. kube-apiservers up to 1.28 send the path of their Unix socket,
   * which is no valid authority.
   */
  readonly authority: string;
  /** The other fields, in order. A name can occur several times. */
  readonly fields: readonly HeaderField[];
  readonly contentLength: number | undefined;
}

const pseudoNames: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority']);

/** Fields that only make sense between two hops of HTTP/1 (RFC 9113, section 8.2.2). */
const hopNames: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

// Upper case is not allowed, and neither are separators and controls (RFC 9113, section 8.2.1).
const validName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// oxlint-disable-next-line no-control-regex -- these controls are what must not occur
const invalidValue = /[\0\r\n]|^[ \t]|[ \t]$/;

/**
 * Checks the fields of a request (RFC 9113, section 8.3).
 *
 * @throws Http2Error `PROTOCOL_ERROR` of the stream
 */
export function parseRequestHead(all: readonly HeaderField[]): RequestHead {
  const pseudo = new Map<string, string>();
  const fields: HeaderField[] = [];
  for (const field of all) {
    if (field.name.startsWith(':')) {
      if (!pseudoNames.has(field.name)) throw malformed(`an unknown field ${field.name}`);
      if (pseudo.has(field.name)) throw malformed(`two fields ${field.name}`);
      if (fields.length > 0) throw malformed(`${field.name} behind other fields`);
      if (invalidValue.test(field.value)) throw malformed(`an invalid ${field.name}`);
      pseudo.set(field.name, field.value);
    } else {
      checkField(field);
      fields.push(field);
    }
  }
  const method = pseudo.get(':method') ?? '';
  const scheme = pseudo.get(':scheme') ?? '';
  const path = pseudo.get(':path') ?? '';
  // CONNECT has neither (RFC 9113, section 8.5). It is refused by its method, like every other.
  if (method === '' || (method !== 'CONNECT' && (scheme === '' || path === ''))) {
    throw malformed('no :method, :scheme or :path');
  }
  const contentLength = contentLengthOf(fields);
  return { method, scheme, path, authority: pseudo.get(':authority') ?? '', fields, contentLength };
}

/**
 * Checks the trailers of a request. Their values are not used.
 *
 * @throws Http2Error `PROTOCOL_ERROR` of the stream
 */
export function checkTrailers(fields: readonly HeaderField[]): void {
  for (const field of fields) {
    if (field.name.startsWith(':')) throw malformed(`${field.name} in trailers`);
    checkField(field);
  }
}

function checkField({ name, value }: HeaderField): void {
  if (!validName.test(name)) throw malformed('a field with an invalid name');
  if (hopNames.has(name)) throw malformed(`the field ${name}`);
  if (name === 'te' && value !== 'trailers') throw malformed('the field te without "trailers"');
  if (invalidValue.test(value)) throw malformed(`an invalid value of ${name}`);
}

function contentLengthOf(fields: readonly HeaderField[]): number | undefined {
  const values = new Set(
    fields.filter(({ name }) => name === 'content-length').map(({ value }) => value),
  );
  if (values.size === 0) return undefined;
  const [value = ''] = values;
  if (values.size > 1 || !/^\d{1,15}$/.test(value)) throw malformed('an invalid content-length');
  return Number(value);
}

function malformed(what: string): Http2Error {
  return new Http2Error('PROTOCOL_ERROR', `the request has ${what}`, 'stream');
}
