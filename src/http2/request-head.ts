import { isTokenCode, isValueCode } from '../base/http-syntax.ts';
import type { HeaderField } from './hpack-static-table.ts';

/** The headers of a request. Values are Latin-1. */
export interface RequestHead {
  readonly method: string;
  /** Empty for a CONNECT without a protocol. */
  readonly path: string;
  /**
   * As the client sent it. kube-apiservers up to 1.28 send the path of their Unix socket, which is
   * no valid authority.
   */
  readonly authority: string | undefined;
  /** The protocol of an extended CONNECT (RFC 8441). */
  readonly protocol: string | undefined;
  /** The other fields, in order. A name can occur several times. */
  readonly fields: readonly HeaderField[];
  readonly contentLength: number | undefined;
}

const validLength = /^\d{1,15}$/;

/** Fields that only make sense between two hops of HTTP/1 (RFC 9113, section 8.2.2). */
const hopNames: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/**
 * The head of a request. Undefined when the fields are malformed (RFC 9113, section 8.3), which is
 * an error of the stream.
 *
 * @param allowsProtocol whether extended CONNECT was announced
 */
export function parseRequestHead(
  all: readonly HeaderField[],
  allowsProtocol = false,
): RequestHead | undefined {
  const pseudo = new PseudoFields();
  let at = 0;
  for (; at < all.length && isPseudo(all[at]!); at++) if (!pseudo.add(all[at]!)) return undefined;
  const fields = all.slice(at);
  let length: string | undefined;
  for (const field of fields) {
    if (!isValidField(field)) return undefined;
    if (field.name !== 'content-length') continue;
    if (length !== undefined || !validLength.test(field.value)) return undefined;
    length = field.value;
  }
  const { method, path = '', authority, protocol } = pseudo;
  if (method === undefined || !isToken(method) || !pseudo.areComplete(allowsProtocol)) {
    return undefined;
  }
  const contentLength = length === undefined ? undefined : Number(length);
  return { method, path, authority, protocol, fields, contentLength };
}

/** Whether fields can be the trailers of a request. */
export function areTrailers(fields: readonly HeaderField[]): boolean {
  return fields.every(isValidField);
}

class PseudoFields {
  method: string | undefined;
  scheme: string | undefined;
  path: string | undefined;
  authority: string | undefined;
  protocol: string | undefined;

  /** False: the field is not known, not valid, or a second one of its name. */
  add({ name, value }: HeaderField): boolean {
    if (!isFieldValue(value)) return false;
    let before: string | undefined;
    switch (name) {
      case ':method':
        before = this.method;
        this.method = value;
        break;
      case ':scheme':
        before = this.scheme;
        this.scheme = value;
        break;
      case ':path':
        before = this.path;
        this.path = value;
        break;
      case ':authority':
        before = this.authority;
        this.authority = value;
        break;
      case ':protocol':
        before = this.protocol;
        this.protocol = value;
        break;
      default:
        return false;
    }
    return before === undefined;
  }

  areComplete(allowsProtocol: boolean): boolean {
    const { method, scheme, path, authority, protocol } = this;
    if (protocol !== undefined) {
      if (!allowsProtocol || method !== 'CONNECT' || authority === undefined) return false;
    } else if (method === 'CONNECT') {
      // RFC 9113, section 8.5.
      return scheme === undefined && path === undefined;
    }
    return scheme !== undefined && scheme !== '' && path !== undefined && path !== '';
  }
}

function isPseudo({ name }: HeaderField): boolean {
  return name.charCodeAt(0) === 0x3a;
}

function isValidField({ name, value }: HeaderField): boolean {
  if (!isFieldName(name) || hopNames.has(name) || !isFieldValue(value)) return false;
  return name !== 'te' || value === 'trailers';
}

function isToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (!isTokenCode(text.charCodeAt(at))) return false;
  return text !== '';
}

/** Upper case is not allowed, and neither are separators and controls (RFC 9113, section 8.2.1). */
function isFieldName(name: string): boolean {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (!isTokenCode(code) || (code >= 0x41 && code <= 0x5a)) return false;
  }
  return name !== '';
}

/** Has no controls, and no whitespace at its ends. */
function isFieldValue(value: string): boolean {
  for (let at = 0; at < value.length; at++) if (!isValueCode(value.charCodeAt(at))) return false;
  return value === '' || (value.charCodeAt(0) > 0x20 && value.charCodeAt(value.length - 1) > 0x20);
}
