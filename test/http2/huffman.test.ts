import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Http2Error } from '../../src/http2/http2-error.ts';
import { decodeHuffman } from '../../src/http2/huffman.ts';

/** All bytes from 0 to 255 in order, as golang.org/x/net/http2/hpack encodes them. */
const allBytes = Buffer.from(
  [
    'ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabff',
    'ffffdfffffebfffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffff',
    'd7fffffdbfffffdffffffe3fffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b7',
    '1d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff',
    '4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa3fffd3ff',
    'ff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffff',
    'eeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdafffeeffff4ffffb7ff',
    'fee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0ffff17f',
    'ffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1fffebfffe3',
    'ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8ffff',
    'fe6fffffc1fffff87ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97f',
    'ffb3ffffcffffb7fffcdffff4ffff9ffffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffff',
    'a7ffffd7fffff9bffffecfffffb7fffff3fffffe8fffffd3fffffabfffff5fffffff7ffffecfffffdbfffffb',
    'bfffff7ffffff0fffffbbf',
  ].join(''),
  'hex',
);

function decode(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  return decodeHuffman(bytes, 0, bytes.length);
}

/** Whether the decoder returned a string of a possible length, or threw a typed error. */
function decodesOrRefuses(bytes: Uint8Array): boolean {
  try {
    return decodeHuffman(bytes, 0, bytes.length).length <= (bytes.length * 8) / 5;
  } catch (thrown) {
    return thrown instanceof Http2Error;
  }
}

describe('The Huffman decoder', () => {
  it('The Huffman decoder knows the code of each byte', () => {
    const expected = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    expect(decodeHuffman(allBytes, 0, allBytes.length)).toBe(expected.toString('latin1'));
  });

  it('The Huffman decoder reads only the given part of its input', () => {
    // 'a' is 00011 and padding of three bits.
    expect(decodeHuffman(Buffer.from('ff1fff', 'hex'), 1, 2)).toBe('a');
    expect(decodeHuffman(Buffer.from('ff1fff', 'hex'), 1, 1)).toBe('');
  });

  it('The Huffman decoder returns strings that are longer than its buffer', () => {
    // Eight times '0' (00000) fill five bytes.
    expect(decodeHuffman(Buffer.alloc(20_000), 0, 20_000)).toBe('0'.repeat(32_000));
  });

  it.each([
    ['eight bits of padding', 'ff'],
    ['eleven bits of padding', '1fff'],
    ['padding of zeros', '18'],
    ['padding that ends inside a symbol', 'ffe0'],
    ['EOS', 'fffffffc'],
    ['EOS between symbols', '1ffffffffe3f'],
    ['EOS at a byte boundary', '1fffffffff'],
  ])('The Huffman decoder refuses %s', (_, hex) => {
    expect(() => decode(hex)).toThrow(
      expect.objectContaining({ code: 'COMPRESSION_ERROR', scope: 'connection' }),
    );
  });

  it('The Huffman decoder returns a string or throws a typed error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(decodesOrRefuses(bytes)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
