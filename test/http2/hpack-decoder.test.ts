import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts';
import { fieldBytes, type HeaderField } from '../../src/http2/hpack-static-table.ts';
import { Http2Error } from '../../src/http2/http2-error.ts';
import {
  addedField,
  hpackInteger,
  hpackString,
  huffmanString,
  indexedField,
  plainField,
  tableSize,
} from '../../testkit/http2/hpack-bytes.ts';
import { appendixExamples } from './appendix-c.ts';

const limits = { maxTableBytes: 4096, maxHeaderListBytes: 64 * 1024 };
/** The index of the newest field of the dynamic table. */
const newest = 62;

function decoder(changed: Partial<typeof limits> = {}): HpackDecoder {
  return new HpackDecoder({ ...limits, ...changed });
}

function pairs(fields: readonly HeaderField[]): [string, string][] {
  return fields.map(({ name, value }) => [name, value]);
}

/** The dynamic table, the newest field first. An error of the last index makes `used` unusable. */
function tableOf(used: HpackDecoder): HeaderField[] {
  const fields: HeaderField[] = [];
  try {
    for (;;) fields.push(...used.decode(indexedField(newest + fields.length)));
  } catch {
    return fields;
  }
}

const compressionError = expect.objectContaining({
  name: 'Http2Error',
  code: 'COMPRESSION_ERROR',
  scope: 'connection',
});

describe('The HPACK decoder', () => {
  describe.each(appendixExamples)(
    'The HPACK decoder on RFC 7541, appendix $section',
    ({ section, tableBytes, blocks }) => {
      it.each(blocks.map((block, at) => ({ ...block, at, number: at + 1 })))(
        `The HPACK decoder decodes block $number of appendix ${section} and keeps its table`,
        ({ at, fields, table, tableBytes: expectedBytes }) => {
          const used = decoder();
          if (tableBytes !== undefined) used.decode(tableSize(tableBytes));
          const decoded = blocks
            .slice(0, at + 1)
            .map(({ hex }) => used.decode(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex')));
          expect(pairs(decoded.at(-1)!)).toEqual(fields);
          const kept = tableOf(used);
          expect(pairs(kept)).toEqual(table);
          expect(kept.reduce((sum, field) => sum + fieldBytes(field), 0)).toBe(expectedBytes);
        },
      );
    },
  );

  it.each([
    // 10 in a prefix of five bits (appendix C.1.1), 1337 (C.1.2), and 42 at a byte boundary (C.1.3).
    ['0a', 0x1f, 10],
    ['1f9a0a', 0x1f, 1337],
    ['2a', 0xff, 42],
  ])('The integer %s of appendix C.1 is what the kit writes', (hex, mask, value) => {
    expect(hpackInteger(value, Math.log2(mask + 1)).toString('hex')).toBe(hex);
  });

  it('The HPACK decoder keeps the order of fields and repeated names', () => {
    const block = Buffer.concat([
      plainField('b', '1'),
      addedField('a', '2'),
      plainField('b', '3'),
      indexedField(newest),
      plainField('b', '1'),
    ]);
    expect(pairs(decoder().decode(block))).toEqual([
      ['b', '1'],
      ['a', '2'],
      ['b', '3'],
      ['a', '2'],
      ['b', '1'],
    ]);
  });

  it('The HPACK decoder returns every byte of names and values as latin1', () => {
    const text = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1');
    expect(pairs(decoder().decode(addedField(text, text)))).toEqual([[text, text]]);
  });

  it('The HPACK decoder accepts empty blocks, names and values', () => {
    expect(decoder().decode(Buffer.alloc(0))).toEqual([]);
    expect(pairs(decoder().decode(plainField('', '')))).toEqual([['', '']]);
    expect(pairs(decoder().decode(Buffer.of(0x01, 0x80)))).toEqual([[':authority', '']]);
  });

  it('The HPACK decoder keeps nothing of the memory of a block', () => {
    const used = decoder();
    const block = new Uint8Array(addedField('name', 'value'));
    const fields = used.decode(block);
    block.fill(0xee);
    expect(pairs([...fields, ...tableOf(used)])).toEqual([
      ['name', 'value'],
      ['name', 'value'],
    ]);
  });

  it('The HPACK decoder reads a block that is a part of a larger buffer', () => {
    const whole = new Uint8Array([0xff, ...plainField('name', 'value'), 0xff]);
    expect(pairs(decoder().decode(whole.subarray(1, -1)))).toEqual([['name', 'value']]);
  });

  describe('The dynamic table of the HPACK decoder', () => {
    it('The dynamic table evicts the oldest fields', () => {
      const used = decoder();
      // 128 fields of 32 bytes fill the table.
      for (let at = 0; at < 128; at++) used.decode(addedField('', ''));
      used.decode(addedField('a', ''));
      used.decode(addedField('b', ''));
      const table = tableOf(used);
      expect(table.length).toBe(127);
      expect(pairs(table.slice(0, 3))).toEqual([
        ['b', ''],
        ['a', ''],
        ['', ''],
      ]);
    });

    it('The dynamic table becomes empty by a field that is larger than the table', () => {
      const used = decoder();
      used.decode(addedField('a', 'b'));
      expect(pairs(used.decode(addedField('large', 'x'.repeat(4096))))[0]?.[0]).toBe('large');
      expect(tableOf(used)).toEqual([]);
    });

    it('The dynamic table holds a field that fills it exactly', () => {
      const used = decoder();
      used.decode(addedField('a', 'b'));
      const value = 'x'.repeat(4096 - 32 - 'large'.length);
      used.decode(addedField('large', value));
      expect(pairs(tableOf(used))).toEqual([['large', value]]);
    });

    it('The dynamic table gives a name of a field that the new field evicts', () => {
      const used = decoder();
      const name = 'n'.repeat(2000);
      used.decode(addedField(name, ''));
      const value = 'v'.repeat(2000);
      const block = Buffer.concat([hpackInteger(newest, 6, 0x40), hpackString(value)]);
      expect(pairs(used.decode(block))).toEqual([[name, value]]);
      expect(pairs(tableOf(used))).toEqual([[name, value]]);
    });

    it('The dynamic table shrinks and grows with size updates at the start of a block', () => {
      const used = decoder();
      used.decode(Buffer.concat([addedField('a', ''), addedField('b', ''), addedField('c', '')]));
      used.decode(Buffer.concat([tableSize(2 * 33), tableSize(4096), addedField('d', '')]));
      expect(pairs(tableOf(used))).toEqual([
        ['d', ''],
        ['c', ''],
        ['b', ''],
      ]);
    });

    it('The dynamic table may have no size at all', () => {
      const used = decoder();
      used.decode(Buffer.concat([tableSize(0), addedField('a', '')]));
      expect(tableOf(used)).toEqual([]);
    });

    it('The dynamic table starts with 4096 bytes, whatever its largest size is', () => {
      const used = decoder({ maxTableBytes: 8192 });
      used.decode(Buffer.concat([addedField('a', 'x'.repeat(2100)), addedField('b', '')]));
      used.decode(addedField('c', 'x'.repeat(2100)));
      expect(pairs(tableOf(used)).map(([name]) => name)).toEqual(['c', 'b']);
      const larger = decoder({ maxTableBytes: 8192 });
      larger.decode(tableSize(8192));
      larger.decode(Buffer.concat([addedField('a', 'x'.repeat(2100)), addedField('b', '')]));
      larger.decode(addedField('c', 'x'.repeat(2100)));
      expect(tableOf(larger).map(({ name }) => name)).toEqual(['c', 'b', 'a']);
    });

    it('A largest size below 4096 bytes is refused', () => {
      expect(() => decoder({ maxTableBytes: 4095 })).toThrow(RangeError);
    });
  });

  it.each([
    ['index 0', indexedField(0)],
    ['an index behind the tables', indexedField(newest)],
    ['a name behind the tables', hpackInteger(newest, 6, 0x40)],
    ['an index that is not complete', Buffer.of(0xff)],
    ['an integer of five more bytes', Buffer.from('ff8080808001', 'hex')],
    ['an endless integer', Buffer.concat([Buffer.of(0xff), Buffer.alloc(10_000, 0x80)])],
    ['a name without a length', Buffer.of(0x00)],
    ['a name that is cut off', Buffer.from('00056e616d65', 'hex')],
    ['a field without a value', Buffer.concat([Buffer.of(0x40), hpackString('name')])],
    ['a value that is cut off', Buffer.concat([Buffer.of(0x01), hpackInteger(3, 7), Buffer.of(1)])],
    ['a length of 2^28', Buffer.concat([Buffer.of(0x00), hpackInteger(2 ** 28, 7)])],
    [
      'a Huffman string with EOS',
      Buffer.concat([Buffer.of(0x01), huffmanString(Buffer.from('fffffffc', 'hex'))]),
    ],
    [
      'a Huffman string with a byte of padding',
      Buffer.concat([Buffer.of(0x01), huffmanString(Buffer.from('1fff', 'hex'))]),
    ],
    ['a table size above the limit', tableSize(4097)],
  ])('The HPACK decoder refuses %s', (_, block) => {
    expect(() => decoder().decode(block)).toThrow(compressionError);
  });

  it('The HPACK decoder refuses a table size after a field', () => {
    const block = Buffer.concat([indexedField(2), tableSize(0), indexedField(2)]);
    expect(() => decoder().decode(block)).toThrow("changes the table's size after a field");
  });

  describe('A header list that is too large', () => {
    it('A header list counts as the lengths of its names and values and 32 per field', () => {
      const block = Buffer.concat([plainField('name', 'value'), plainField('a', '')]);
      const bytes = 4 + 5 + 32 + 1 + 32;
      expect(decoder({ maxHeaderListBytes: bytes }).decode(block)).toHaveLength(2);
      expect(() => decoder({ maxHeaderListBytes: bytes - 1 }).decode(block)).toThrow(
        expect.objectContaining({ code: 'ENHANCE_YOUR_CALM', scope: 'stream' }),
      );
    });

    it('A header list that is too large leaves the table right', () => {
      const used = decoder({ maxHeaderListBytes: 1000 });
      const block = Buffer.concat([
        addedField('a', 'x'.repeat(900)),
        addedField('b', ''),
        plainField('c', ''),
        addedField('d', ''),
      ]);
      expect(() => used.decode(block)).toThrow(expect.objectContaining({ scope: 'stream' }));
      expect(tableOf(used).map(({ name }) => name)).toEqual(['d', 'b', 'a']);
    });

    it('A header list that is too large and malformed ends the connection', () => {
      const block = Buffer.concat([plainField('a', 'x'.repeat(2000)), indexedField(0)]);
      expect(() => decoder({ maxHeaderListBytes: 1000 }).decode(block)).toThrow(compressionError);
    });
  });

  describe('An HPACK bomb', () => {
    const mib = 1024 * 1024;

    it('An HPACK bomb of references to a large field costs no memory', () => {
      const used = decoder();
      used.decode(addedField('bomb', 'x'.repeat(4000)));
      const references = Buffer.alloc(64 * 1024, indexedField(newest));
      const before = process.memoryUsage().heapUsed;
      for (let times = 0; times < 20; times++) {
        // 64 Ki references to 4 KiB are a list of 256 MiB.
        expect(() => used.decode(references)).toThrow(expect.objectContaining({ scope: 'stream' }));
      }
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(32 * mib);
    });

    it('An HPACK bomb of a large field fits the list only a few times', () => {
      const used = decoder();
      used.decode(addedField('bomb', 'x'.repeat(4000)));
      expect(used.decode(Buffer.alloc(16, indexedField(newest)))).toHaveLength(16);
      expect(() => used.decode(Buffer.alloc(17, indexedField(newest)))).toThrow(Http2Error);
    });

    it('An HPACK bomb of small fields leaves no more in the table than its size', () => {
      const used = decoder();
      const block = Buffer.concat(Array<Buffer>(20_000).fill(addedField('', '')));
      expect(() => used.decode(block)).toThrow(expect.objectContaining({ scope: 'stream' }));
      expect(tableOf(used)).toHaveLength(128);
    });
  });

  it('The HPACK decoder returns fields or throws a typed error for any bytes', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 0, max: 130 }).map(indexedField),
      fc
        .tuple(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }))
        .map(([name, value]) => addedField(name, value)),
      fc.integer({ min: 0, max: 5000 }).map(tableSize),
    );
    fc.assert(
      fc.property(fc.array(fc.array(piece, { maxLength: 12 }), { maxLength: 8 }), (blocks) => {
        const used = decoder({ maxHeaderListBytes: 500 });
        try {
          for (const pieces of blocks) {
            const listBytes = used
              .decode(Buffer.concat(pieces))
              .reduce((sum, field) => sum + fieldBytes(field), 0);
            expect(listBytes).toBeLessThanOrEqual(500);
          }
        } catch (thrown) {
          if (!(thrown instanceof Http2Error)) throw thrown;
        }
      }),
      { numRuns: 3000 },
    );
  });
});
