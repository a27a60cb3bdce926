import { TunnelError } from '../tunnel/errors.ts';
import type { HeaderList, HttpRequestHead, HttpResponseHead } from './http-exchange.ts';
import { exchangeLimits } from './exchange-limits.ts';
import { isFieldValue, isOriginForm, isToken } from '../base/http-syntax.ts';

// A head is a table of lengths, and behind it all texts in the same order. So one call decodes all
// texts. Numbers are big-endian.
//   request:  u16 fields, u16 bytes of method, u16 bytes of path, (u16 name, u16 value) ..., texts
//   response: u16 fields, u16 status,                             (u16 name, u16 value) ..., texts
//   trailers: u16 fields,                                         (u16 name, u16 value) ..., texts

const maxTextBytes = 0xffff;

const utf8 = new TextEncoder();
/** From this length on, the encoder of the runtime is faster than a loop. Tokens are that long. */
const longTextChars = 48;

/** @throws TunnelError `protocol_error` a text is too long, or has a character above U+00FF */
export function encodeRequestHead({ method, path, headers }: HttpRequestHead): Uint8Array {
  const bytes = new Uint8Array(encodedBytes(4 + method.length + path.length, headers));
  const writer = new HeadWriter(bytes, headers.length);
  writer.length(method);
  writer.length(path);
  writer.lengths(headers);
  writer.text(method);
  writer.text(path);
  return writer.texts(headers);
}

/**
 * The result is borrowed: valid until the next head is encoded.
 *
 * @throws TunnelError `protocol_error`, as for requests
 */
export function encodeResponseHead({ status, headers }: HttpResponseHead): Uint8Array {
  const writer = new HeadWriter(borrowed(encodedBytes(2, headers)), headers.length);
  writer.number(status);
  writer.lengths(headers);
  return writer.texts(headers);
}

/** As for responses. */
export function encodeTrailers(trailers: HeaderList): Uint8Array {
  const writer = new HeadWriter(borrowed(encodedBytes(0, trailers)), trailers.length);
  writer.lengths(trailers);
  return writer.texts(trailers);
}

/** @throws TunnelError `protocol_error` the bytes are not a head, or not one of valid HTTP */
export function decodeRequestHead(bytes: Uint8Array): HttpRequestHead {
  const reader = new HeadReader(bytes, 4);
  const methodBytes = reader.number();
  const pathBytes = reader.number();
  reader.beginTexts();
  const method = reader.text(methodBytes, isToken, 'a method');
  const path = reader.text(pathBytes, isOriginForm, 'a path');
  return { method, path, headers: reader.fields() };
}

/** @throws TunnelError `protocol_error`, as for requests */
export function decodeResponseHead(bytes: Uint8Array): HttpResponseHead {
  const reader = new HeadReader(bytes, 2);
  const status = reader.number();
  reader.beginTexts();
  return { status, headers: reader.fields() };
}

/** @throws TunnelError `protocol_error`, as for requests */
export function decodeTrailers(bytes: Uint8Array): HeaderList {
  const reader = new HeadReader(bytes, 0);
  reader.beginTexts();
  return reader.fields();
}

function encodedBytes(ownBytes: number, headers: HeaderList): number {
  let bytes = 2 + ownBytes + 4 * headers.length;
  for (const [name, value] of headers) bytes += name.length + value.length;
  return bytes;
}

/** Streams copy what they are given, so one memory serves all heads of usual length. */
const shared = new Uint8Array(4096);

function borrowed(bytes: number): Uint8Array {
  return bytes <= shared.length ? shared.subarray(0, bytes) : new Uint8Array(bytes);
}

class HeadWriter {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array, fields: number) {
    this.#bytes = bytes;
    if (fields > exchangeLimits.maxFields) {
      throw malformedHead(`has ${fields} fields, at most ${exchangeLimits.maxFields}`);
    }
    this.number(fields);
  }

  number(value: number): void {
    this.#bytes[this.#at++] = value >>> 8;
    this.#bytes[this.#at++] = value;
  }

  length(text: string): void {
    if (text.length > maxTextBytes) throw malformedHead(`has a text of ${text.length} bytes`);
    this.number(text.length);
  }

  lengths(headers: HeaderList): void {
    for (const [name, value] of headers) {
      this.length(name);
      this.length(value);
    }
  }

  text(text: string): void {
    const bytes = this.#bytes;
    let at = this.#at;
    const { length } = text;
    if (length >= longTextChars) {
      const { read, written } = utf8.encodeInto(text, bytes.subarray(at));
      // Otherwise a character is not ASCII, and the loop writes all of them again.
      if (read === length && written === length) {
        this.#at = at + length;
        return;
      }
    }
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0xff) throw malformedHead('has a character above U+00FF');
      bytes[at++] = code;
    }
    this.#at = at;
  }

  texts(headers: HeaderList): Uint8Array {
    for (const [name, value] of headers) {
      this.text(name);
      this.text(value);
    }
    return this.#bytes;
  }
}

type IsValid = (bytes: Uint8Array, start: number, end: number) => boolean;

const utf8Decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

class HeadReader {
  readonly #bytes: Uint8Array;
  readonly #count: number;
  #lengthAt: number;
  readonly #textsStart: number;
  #textAt = 0;
  #texts = '';

  /** @param fixedBytes bytes between the number of fields and their lengths */
  constructor(bytes: Uint8Array, fixedBytes: number) {
    this.#bytes = bytes;
    this.#count = bytes.length < 2 ? 0 : (bytes[0]! << 8) | bytes[1]!;
    this.#lengthAt = 2;
    this.#textsStart = 2 + fixedBytes + 4 * this.#count;
    if (bytes.length < this.#textsStart) throw malformedHead('ends early');
    const { maxFields } = exchangeLimits;
    if (this.#count > maxFields) {
      throw malformedHead(`has ${this.#count} fields, at most ${maxFields} are allowed`);
    }
  }

  number(): number {
    const at = this.#lengthAt;
    this.#lengthAt += 2;
    return (this.#bytes[at]! << 8) | this.#bytes[at + 1]!;
  }

  beginTexts(): void {
    this.#texts = latin1(this.#bytes.subarray(this.#textsStart));
  }

  text(length: number, isValid: IsValid, what: string): string {
    const start = this.#textAt;
    const end = start + length;
    if (end > this.#texts.length) throw malformedHead('ends early');
    if (!isValid(this.#bytes, this.#textsStart + start, this.#textsStart + end)) {
      throw malformedHead(`has ${what} that is not valid in HTTP`);
    }
    this.#textAt = end;
    return this.#texts.slice(start, end);
  }

  fields(): HeaderList {
    const fields: [string, string][] = [];
    for (let index = 0; index < this.#count; index++) {
      const nameBytes = this.number();
      const valueBytes = this.number();
      const name = this.text(nameBytes, isToken, 'a field name');
      fields.push([name, this.text(valueBytes, isFieldValue, 'a field value')]);
    }
    if (this.#textAt !== this.#texts.length) throw malformedHead('has bytes behind its texts');
    return fields;
  }
}

/** A character for each byte. */
function latin1(bytes: Uint8Array): string {
  // A byte that is not ASCII becomes a part of a longer character, or U+FFFD. The runtime finds it
  // faster than a loop over the bytes.
  const text = utf8Decoder.decode(bytes);
  if (text.length === bytes.length && !text.includes('\ufffd')) return text;
  let characters = '';
  for (const byte of bytes) characters += String.fromCharCode(byte);
  return characters;
}

function malformedHead(problem: string): TunnelError {
  return new TunnelError('protocol_error', `the head of an HTTP message ${problem}`);
}
