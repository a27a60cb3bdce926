import type { HeaderField } from './hpack-static-table.ts';

/** The headers of a request. Values are Latin-1. */
export interface RequestHead {
  readonly method: string;
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

const validLength = /^\d{1,15}$/;

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
 * The head of a request. Undefined when the fields are malformed (RFC 9113, section 8.3), which is
 * an error of the stream.
 */
export function parseRequestHead(all: readonly HeaderField[]): RequestHead | undefined {
  const pseudo = new Map<string, string>();
  const fields: HeaderField[] = [];
  for (const field of all) {
    if (field.name.startsWith(':')) {
      const isLate = fields.length > 0 || pseudo.has(field.name);
      if (isLate || !pseudoNames.has(field.name) || invalidValue.test(field.value))
        return undefined;
      pseudo.set(field.name, field.value);
    } else {
      if (!isValidField(field)) return undefined;
      fields.push(field);
    }
  }
  const method = pseudo.get(':method') ?? '';
  const scheme = pseudo.get(':scheme') ?? '';
  const path = pseudo.get(':path') ?? '';
  // CONNECT has neither scheme nor path (RFC 9113, section 8.5).
  if (method === '' || (method !== 'CONNECT' && (scheme === '' || path === ''))) return undefined;
  const lengths = new Set<string>();
  for (const { name, value } of fields) if (name === 'content-length') lengths.add(value);
  const [length] = lengths;
  if (lengths.size > 1 || (length !== undefined && !validLength.test(length))) return undefined;
  return {
    method,
    path,
    authority: pseudo.get(':authority') ?? '',
    fields,
    contentLength: length === undefined ? undefined : Number(length),
  };
}

/** Whether fields can be the trailers of a request. Their values are not used. */
export function areTrailers(fields: readonly HeaderField[]): boolean {
  return fields.every((field) => !field.name.startsWith(':') && isValidField(field));
}

function isValidField({ name, value }: HeaderField): boolean {
  if (!validName.test(name) || hopNames.has(name) || invalidValue.test(value)) return false;
  return name !== 'te' || value === 'trailers';
}
