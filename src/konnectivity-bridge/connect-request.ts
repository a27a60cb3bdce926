import { headLimits } from '../base/server/http-request-problem.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';

const lf = 0x0a;
const cr = 0x0d;

/**
 * Collects the head of an HTTP/1 request, which can arrive in any number of pieces. Lines end with
 * CRLF only, because a proxy that takes a bare LF or CR for the end of a line sees other fields
 * than a server that does not (RFC 9112, sections 2.2 and 11.2).
 */
export class RequestHead {
  #text = '';
  #lines = 0;
  #lineBytes = 0;
  #previous = 0;

  /** The lines so far, without their CRLF. */
  get lines(): readonly string[] {
    return this.#text.split('\r\n');
  }

  /**
   * Takes the next bytes.
   *
   * @returns where in `bytes` the head ends; undefined: it has not ended yet
   * @throws KonnectivityError `malformed_request`, `request_too_large`
   */
  push(bytes: Uint8Array): number | undefined {
    const maxBytes = headLimits.maxHeadBytes - this.#text.length;
    const end = Math.min(bytes.length, maxBytes);
    for (let at = 0; at < end; at++) {
      if (this.#endsHead(bytes[at]!)) {
        // Without the CRLF of the last field and the empty line.
        this.#text = (this.#text + latin1(bytes.subarray(0, at + 1))).slice(0, -4);
        return at + 1;
      }
    }
    if (bytes.length >= maxBytes) {
      throw tooLarge(`the head of the request has more than ${headLimits.maxHeadBytes} bytes`);
    }
    this.#text += latin1(bytes);
    return undefined;
  }

  /** Takes one byte. Returns whether it is the last byte of the head. */
  #endsHead(byte: number): boolean {
    const previous = this.#previous;
    this.#previous = byte;
    if (byte === lf) {
      if (previous !== cr) throw malformed('a line of the request ends with LF instead of CRLF');
      if (this.#lineBytes === 0 && this.#lines > 0) return true;
      this.#lineBytes = 0;
      // The request line counts too.
      if (++this.#lines <= headLimits.maxHeaders + 1) return false;
      throw tooLarge(`the request has more than ${headLimits.maxHeaders} header fields`);
    }
    if (previous === cr) throw malformed('the request has a CR that ends no line');
    if (byte !== cr) this.#lineBytes++;
    return false;
  }
}

const requestLine = /^([!#$%&'*+.^_`|~\w-]+) (\S+) HTTP\/1\.([01])$/;
const field = /^([!#$%&'*+.^_`|~\w-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
/** `host:port` in the characters of RFC 3986, section 3.2. Names in use have no other characters. */
const authority = /^(?:[\w.~-]+|\[[\da-fA-F:.]+\]):\d{1,5}$/;

/**
 * Reads the destination of a CONNECT request, `host:port`. Its `Host` field is ignored, because
 * kube-apiserver always sends `127.0.0.1` (RFC 9112, section 3.2.3: the request target decides).
 *
 * @throws KonnectivityError `malformed_request`, `unsupported_method`
 */
export function readConnectRequest([first = '', ...fields]: readonly string[]): string {
  const [, method, target = '', minor] = requestLine.exec(first) ?? [];
  if (method === undefined) throw malformed('the request has no proper request line');
  const hosts = checkFields(fields);
  // HTTP/1.0 has no Host field (RFC 9112, section 3.2).
  if (hosts > 1 || (hosts === 0 && minor === '1')) {
    throw malformed(`the request has ${hosts} Host fields, it needs one`);
  }
  if (method !== 'CONNECT') {
    throw new KonnectivityError(
      'unsupported_method',
      `this server only supports CONNECT passthrough, not ${method.slice(0, 20)}`,
    );
  }
  if (!authority.test(target)) throw malformed('the target of CONNECT must be host:port');
  return target;
}

/** Checks all fields; returns how many of them are `Host`. */
function checkFields(fields: readonly string[]): number {
  let hosts = 0;
  for (const line of fields) {
    const [, name = '', value = ''] = field.exec(line) ?? [];
    switch (name.toLowerCase()) {
      case '':
        throw malformed('a header field of the request is not NAME: VALUE in one line');
      case 'host':
        hosts++;
        break;
      case 'transfer-encoding':
        throw malformed('the request must have no Transfer-Encoding');
      case 'content-length':
        // RFC 9110, section 9.3.6: CONNECT has no content. Bytes after the head are the tunnel's.
        if (value.trim() !== '0') throw malformed('the request must have no content');
        break;
    }
  }
  return hosts;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function malformed(sentence: string): KonnectivityError {
  return new KonnectivityError('malformed_request', sentence);
}

function tooLarge(sentence: string): KonnectivityError {
  return new KonnectivityError('request_too_large', sentence);
}
