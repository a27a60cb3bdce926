/**
 * HPACK (RFC 7541) as literal bytes, for tests. Written apart from src/http2, so that a test does
 * not compare the code with itself.
 */

/** An integer with `flags` above its prefix (section 5.1). */
export function hpackInteger(value: number, prefixBits: number, flags = 0): Buffer {
  const largest = 2 ** prefixBits - 1;
  if (value < largest) return Buffer.of(flags | value);
  const bytes = [flags | largest];
  let rest = value - largest;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A string without Huffman codes (section 5.2). */
export function hpackString(text: string): Buffer {
  return Buffer.concat([hpackInteger(text.length, 7), Buffer.from(text, 'latin1')]);
}

/** A string of bytes that are already in Huffman codes. */
export function huffmanString(codes: Uint8Array): Buffer {
  return Buffer.concat([hpackInteger(codes.length, 7, 0x80), codes]);
}

/** A field of a table (section 6.1). */
export function indexedField(index: number): Buffer {
  return hpackInteger(index, 7, 0x80);
}

/** A field with a name of its own that enters the dynamic table (section 6.2.1). */
export function addedField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x40), hpackString(name), hpackString(value)]);
}

/** A field with a name of its own that does not enter the dynamic table (section 6.2.2). */
export function plainField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x00), hpackString(name), hpackString(value)]);
}

/** A change of the dynamic table's size (section 6.3). */
export function tableSize(bytes: number): Buffer {
  return hpackInteger(bytes, 5, 0x20);
}

/** The head of a request over https, without the dynamic table. */
export function requestHead(method: string, path: string, ...more: readonly Uint8Array[]): Buffer {
  const fields = [plainField(':method', method), indexedField(7), plainField(':path', path)];
  return Buffer.concat([...fields, ...more]);
}

/** The head of a konnectivity call, without the dynamic table. */
export const callHead = Buffer.concat([
  // :method POST and :scheme http.
  indexedField(3),
  indexedField(6),
  plainField(':path', '/ProxyService/Proxy'),
  plainField(':authority', 'front.test'),
  plainField('content-type', 'application/grpc'),
  plainField('te', 'trailers'),
]);
