/** The protocols that a listener can tell apart by their first bytes. */
export type ClientProtocol = 'http2' | 'http1' | 'socks5' | 'unknown';

const socks5Version = 0x05;
/** No method of HTTP/1 begins with these bytes of HTTP/2's preface. */
const http2Start = Buffer.from('PRI ', 'latin1');

/**
 * The protocol of a client that has sent `bytes` so far. Undefined while they do not tell it.
 * HTTP/1 begins with a method, in letters.
 */
export function protocolOf(bytes: Uint8Array): ClientProtocol | undefined {
  const [first] = bytes;
  if (first === undefined) return undefined;
  if (first === socks5Version) return 'socks5';
  const isHttp2 = bytes.subarray(0, http2Start.length).every((byte, at) => byte === http2Start[at]);
  if (isHttp2) return bytes.length >= http2Start.length ? 'http2' : undefined;
  return isLetter(first) ? 'http1' : 'unknown';
}

function isLetter(byte: number): boolean {
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x7a;
}
