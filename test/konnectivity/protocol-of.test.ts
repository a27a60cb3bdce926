import { expect, it } from 'vitest';
import { protocolOf } from '../../src/konnectivity/protocol-of.ts';

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

it.each([
  ['', undefined],
  ['P', undefined],
  ['PRI', undefined],
  ['PRI ', 'http2'],
  [preface, 'http2'],
  ['PUT /', 'http1'],
  ['PRIx', 'http1'],
  ['C', 'http1'],
  ['get', 'http1'],
  ['\x05', 'socks5'],
  ['\x05\x01\x00', 'socks5'],
  ['\x16\x03\x01', 'unknown'],
  ['\0', 'unknown'],
  ['1', 'unknown'],
  ['\xff', 'unknown'],
])('A client that begins with %j speaks %s', (start, protocol) => {
  expect(protocolOf(Buffer.from(start, 'latin1'))).toBe(protocol);
});
