import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';

function hex(fields: readonly (readonly [name: string, value: string])[]): string {
  const block = encodeHeaders(fields.map(([name, value]) => ({ name, value })));
  return Buffer.from(block).toString('hex');
}

describe('The HPACK encoder', () => {
  it('The HPACK encoder writes a field of the static table as its index', () => {
    expect(hex([[':status', '200']])).toBe('88');
    expect(
      hex([
        [':method', 'GET'],
        [':method', 'POST'],
      ]),
    ).toBe('8283');
  });

  it('The HPACK encoder writes a name of the static table as its index', () => {
    // RFC 7541, appendix C.2.2.
    expect(hex([[':path', '/sample/path']])).toBe('040c2f73616d706c652f70617468');
    // content-type is 31, which does not fit into the prefix of four bits.
    expect(hex([['content-type', 'application/grpc']])).toBe(
      `0f1010${Buffer.from('application/grpc').toString('hex')}`,
    );
    // The first of several indexes of a name.
    expect(hex([[':status', '302']])).toBe('0803333032');
  });

  it('The HPACK encoder writes an unknown name as text', () => {
    expect(hex([['grpc-status', '0']])).toBe(
      `000b${Buffer.from('grpc-status').toString('hex')}0130`,
    );
  });

  it('The HPACK encoder writes an empty value as text', () => {
    expect(hex([[':authority', '']])).toBe('0100');
    expect(hex([['', '']])).toBe('000000');
  });

  it('The HPACK encoder returns memory of its own', () => {
    const block = encodeHeaders([{ name: ':status', value: '200' }]);
    expect(block.buffer.byteLength).toBe(1);
  });

  it('The HPACK encoder writes what the HPACK decoder reads', () => {
    const text = fc.oneof(
      fc.constantFrom('', ':status', ':path', 'te', '200', 'gzip, deflate', 'grpc-message'),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    );
    const fields = fc.array(fc.record({ name: text, value: text }, { noNullPrototype: true }));
    fc.assert(
      fc.property(fields, (written) => {
        const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1024 * 1024 });
        expect(decoder.decode(encodeHeaders(written))).toEqual(written);
      }),
    );
  });
});
